"""`/metrics` in Prometheus text: how far the streams and tables of this worker are. Each worker tells of its own
partitions, and Prometheus adds up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from projections.app import ReadSide
from projections.operations.lag import lag_of
from projections.operations.reach import reach_here
from streams.web.lag import StreamLag
from streams.web.operation import Response, describe


class _Lags(Collector):
    """The figures of `/lag` for some streams, as they were when they were asked for."""

    def __init__(self, side: ReadSide, streams: Iterable[StreamLag]) -> None:
        self._side = side
        self._streams = list(streams)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One family for each figure."""
        stream, table = ["stream"], ["stream", "table", "serving"]
        head = _gauge("stream_head_commit", "The newest commit of a stream that holds an event", stream)
        published = _gauge("stream_published_commit", "The newest commit whose events are on their topic", stream)
        waiting = _gauge("stream_unpublished_events", "Events that are not on their topic yet", stream)
        applied = _gauge("table_applied_commit", "The newest commit that a table has whole", table)
        commits = _gauge("table_lag_commits", "Commits that a table is behind the journal", table)
        events = _gauge("table_lag_events", "Events that a table is behind the journal", table)
        seconds = _gauge("table_lag_seconds", "Age of the oldest event that is not applied", table)
        for lag in self._streams:
            head.add_metric([lag.stream], lag.eventful)
            waiting.add_metric([lag.stream], lag.unpublished_events)
            if lag.published is not None:
                published.add_metric([lag.stream], lag.published)
            for behind in lag.projections:
                labels = [lag.stream, behind.table, str(behind.serving).lower()]
                applied.add_metric(labels, behind.applied)
                commits.add_metric(labels, behind.commits)
                events.add_metric(labels, behind.events)
                seconds.add_metric(labels, behind.seconds)
        quarantined = _gauge("table_quarantined_keys", "Keys whose events wait", ["stream", "table"])
        for source in self._side.sources.values():
            for partition in source.partitions.values():
                for name, fold in partition.tables.items():
                    quarantined.add_metric([partition.stream, name], len(fold.quarantined))
        ready = _gauge("worker_ready", "Whether this worker serves all that is assigned to it", [])
        ready.add_metric([], int(self._side.app.is_well))
        return [head, published, waiting, applied, commits, events, seconds, quarantined, ready]


def _gauge(name: str, help: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help, labels=labels)


def add_metrics(side: ReadSide) -> None:
    """Serve `/metrics`."""

    @side.app.page("/metrics")
    @describe(
        "operations", "The figures of this worker for Prometheus", Response("Text", media="text/plain"), problems=(503,)
    )
    async def metrics(view: Any, request: Any) -> Any:
        here = reach_here(side)
        heads = await side.heads.of({*here.published, *here.applied})
        streams = await asyncio.gather(*(lag_of(side, stream, head, [here]) for stream, head in heads.items()))
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        registry.register(_Lags(side, streams))
        return view.bytes(generate_latest(registry), content_type=None, headers={"Content-Type": CONTENT_TYPE_LATEST})
