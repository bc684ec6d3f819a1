"""`/metrics` of every worker, for Prometheus: each tells of itself, and Prometheus adds up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from prometheus_client.registry import Collector

from streams.access.principal import Role
from streams.observability import catalog
from streams.observability.exposition import exposition
from streams.observability.instruments import Reading
from streams.runtime.application import Application
from streams.web.operation import Response, describe

Asked = Callable[[], Awaitable[Sequence[Collector]]]


async def _nothing_more() -> Sequence[Collector]:
    return ()


def add_metrics(app: Application, more: Asked = _nothing_more) -> None:
    """Serve `/metrics`: the instruments of the app, and what `more` finds out when somebody asks."""
    _read_worker(app)

    @app.page("/metrics")
    @describe(
        "operations",
        "The figures of this worker for Prometheus",
        Response("Text", media="text/plain"),
        role=Role.AUDITOR,
    )
    async def metrics(view: Any, request: Any) -> Any:
        text, content_type = exposition(request.headers.get("Accept", ""), app.instruments, *await more())
        return view.bytes(text, content_type=None, headers={"Content-Type": content_type})


def _read_worker(app: Application) -> None:
    """What every worker says of itself."""
    app.instruments.gauge(catalog.WORKER_INFO).set(1, app.module)

    def is_ready() -> Iterable[Reading]:
        yield (), float(app.is_well)

    def troubles() -> Iterable[Reading]:
        yield (), float(len(app.supervisor.troubles))

    def connections() -> Iterable[Reading]:
        yield (), float(len(app.web.connections))

    app.instruments.gauge(catalog.WORKER_READY).read(is_ready)
    app.instruments.gauge(catalog.WORKER_TROUBLES).read(troubles)
    app.instruments.gauge(catalog.HTTP_CONNECTIONS).read(connections)
