"""A collector of traces as workers see it: OTLP over HTTP on this machine, whose spans a test looks at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True)
class CollectedSpan:
    """A span as it came; ids in hexadecimal digits, times in nanoseconds since 1970. `service` is its resource's."""

    trace_id: str
    span_id: str
    parent: str
    name: str
    kind: int
    began: int
    ended: int
    attributes: dict[str, Any]
    links: Sequence[tuple[str, str]]
    error: str
    service: str


class Collector:
    """Keeps all spans that come, or none. `status` is what it answers."""

    def __init__(self, keeps: bool = True) -> None:
        self._keeps = keeps
        self.spans: list[CollectedSpan] = []
        self.status = 200
        self.requests: list[dict[str, str]] = []
        """The headers of each."""
        self.url = ""

    def of(self, trace_id: str) -> list[CollectedSpan]:
        """The spans of a trace, each once: a worker may send one again."""
        return list({span.span_id: span for span in self.spans if span.trace_id == trace_id}.values())

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append(dict(request.headers))
        if self.status != 200:
            return web.Response(status=self.status)
        assert PROTOBUF == request.content_type
        if self._keeps:
            self.spans += read(await request.read())
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=PROTOBUF)


def read(body: bytes) -> list[CollectedSpan]:
    """The spans of a request."""
    found = []
    for of_worker in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = {pair.key: _value(pair.value) for pair in of_worker.resource.attributes}["service.name"]
        for span in (span for scope in of_worker.scope_spans for span in scope.spans):
            one = CollectedSpan(
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                name=span.name,
                kind=span.kind,
                began=span.start_time_unix_nano,
                ended=span.end_time_unix_nano,
                attributes={pair.key: _value(pair.value) for pair in span.attributes},
                links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                error=span.status.message,
                service=service,
            )
            found.append(one)
    return found


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@asynccontextmanager
async def collector(port: int = 0, keeps: bool = True) -> AsyncIterator[Collector]:
    """One that listens; at any port unless one is wanted."""
    it = Collector(keeps)
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/traces", it.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        it.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield it
    finally:
        await runner.cleanup()


def children(spans: Sequence[CollectedSpan]) -> dict[str, list[CollectedSpan]]:
    """By the id of a span those below it, in the order of time."""
    found: dict[str, list[CollectedSpan]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.began):
        found[span.parent].append(span)
    return found
