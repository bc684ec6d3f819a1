"""`/metrics` in Prometheus text: how far the streams and tables of this worker are. Each worker tells of its own
partitions, and Prometheus adds up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
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
from projections.operations.lag import heads_of, lag_of
from projections.operations.reach import reach_here
from streams.access.principal import Role
from streams.web.lag import StreamLag
from streams.web.operation import Response, describe

STREAM_FIGURES: Mapping[str, tuple[str, str]] = {
    "stream_head_commit": ("eventful", "The newest commit that holds an event of a stream"),
    "stream_published_commit": ("published", "The newest commit whose events are on their topic"),
    "stream_unpublished_events": ("unpublished_events", "Events that are not on their topic yet"),
}
TABLE_FIGURES: Mapping[str, tuple[str, str]] = {
    "table_applied_commit": ("applied", "The newest commit that a table has whole"),
    "table_lag_commits": ("commits", "Commits that a table is behind the journal, no more than there are events"),
    "table_lag_events": ("events", "Events that a table is behind the journal"),
    "table_lag_seconds": ("seconds", "Age of the oldest event that is not applied"),
}
"""By metric the field of `/lag`, and what it is."""


class _Lags(Collector):
    """The figures of `/lag` for some streams, as they were when they were asked for."""

    def __init__(self, side: ReadSide, streams: Iterable[StreamLag]) -> None:
        self._side = side
        self._streams = list(streams)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One family for each figure."""
        for name, (figure, about) in STREAM_FIGURES.items():
            family = GaugeMetricFamily(name, about, labels=["stream"])
            for lag in self._streams:
                if (value := getattr(lag, figure)) is not None:
                    family.add_metric([lag.stream], value)
            yield family
        for name, (figure, about) in TABLE_FIGURES.items():
            family = GaugeMetricFamily(name, about, labels=["stream", "table", "serving"])
            for lag in self._streams:
                for table in lag.projections:
                    labels = [lag.stream, table.table, str(table.serving).lower()]
                    family.add_metric(labels, getattr(table, figure))
            yield family
        quarantined = GaugeMetricFamily("table_quarantined_keys", "Keys whose events wait", labels=["stream", "table"])
        for source in self._side.sources.values():
            for partition in source.partitions.values():
                for name, fold in partition.tables.items():
                    quarantined.add_metric([partition.stream, name], len(fold.quarantined))
        yield quarantined
        is_well = self._side.app.is_well
        yield GaugeMetricFamily("worker_ready", "Whether this worker serves all that is assigned to it", int(is_well))


def add_metrics(side: ReadSide) -> None:
    """Serve `/metrics`."""

    @side.app.page("/metrics")
    @describe(
        "operations",
        "The figures of this worker for Prometheus",
        Response("Text", media="text/plain"),
        problems=(503,),
        role=Role.AUDITOR,
    )
    async def metrics(view: Any, request: Any) -> Any:
        here = await reach_here(side)
        heads = await heads_of(side, sorted({*here.published, *here.applied}))
        streams = await asyncio.gather(*(lag_of(side, stream, head, [here]) for stream, head in heads.items()))
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        registry.register(_Lags(side, streams))
        return view.bytes(generate_latest(registry), content_type=None, headers={"Content-Type": CONTENT_TYPE_LATEST})
