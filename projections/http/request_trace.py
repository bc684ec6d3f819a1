"""The spans of a command that came over HTTP: of its request, and of the sending to Kafka below it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Any

from projections.http.forwarding import HOP
from projections.http.problems import HttpProblem
from streams.observability.event_traces import MESSAGING
from streams.observability.traces import HEADER, SpanRef, read
from streams.observability.tracing import Attributes, Kind, Span, Tracer

BROKEN = 500
"""The status of a request over which something was raised that is no problem of its sender's."""


class RequestTrace:
    """Of one request to send a command, whose span is `ref`."""

    def __init__(self, tracer: Tracer, ref: SpanRef, came: SpanRef | None, start: str, method: str, route: str) -> None:
        self.start = start
        """Where the transmission begins: with whoever has sent the request, or else with it."""
        self.ref = ref
        self.send = ref.child()
        self._tracer = tracer
        self._parent = came.span_id if came is not None else ""
        self._method = method
        self._route = route
        self._began = time.time()

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """What the record of the command has, to say who has sent it."""
        return [(HEADER, self.send.traceparent.encode())]

    def sent(self, topic: str, command: str, partition: int, offset: int, began: float) -> None:
        """Kafka has the command; handing it over began at a time, in seconds since 1970."""
        ended = time.time()

        def spans() -> Iterator[Span]:
            attributes: Attributes = {
                **MESSAGING,
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": topic,
                "messaging.destination.partition.id": str(partition),
                "messaging.kafka.offset": offset,
                "sourced.command": command,
            }
            yield Span(self.send, self.ref.span_id, f"send {topic}", Kind.PRODUCER, began, ended, attributes)

        self._tracer.put(1, spans)

    async def until_answered(self, answer: Awaitable[Any]) -> Any:
        """The answer to the request. Raises what that raises."""
        status = BROKEN
        try:
            answered = await answer
            status = answered.status
            return answered
        except HttpProblem as problem:
            status = problem.status
            raise
        finally:
            self._tracer.put(1, partial(self._answered, status, time.time()))

    def _answered(self, status: int, ended: float) -> Iterator[Span]:
        attributes: Attributes = {
            "http.request.method": self._method,
            "http.route": self._route,
            "http.response.status_code": status,
        }
        name, error = f"{self._method} {self._route}", str(status) if status >= BROKEN else ""
        yield Span(self.ref, self._parent, name, Kind.SERVER, self._began, ended, attributes, error=error)


def begin(tracer: Tracer | None, request: Any, route: str) -> RequestTrace | None:
    """The trace of a request; None where the sampler wants none. Whoever hands a request to another worker has asked
    it."""
    came = request.headers.get(HEADER, "")
    if tracer is None or (HOP in request.headers and not came):
        return None
    ref = tracer.begin(came, route)
    if ref is None:
        return None
    above = read(came)
    start = came if above is not None and above[1] else ref.traceparent
    return RequestTrace(tracer, ref, None if above is None else above[0], start, request.method, route)
