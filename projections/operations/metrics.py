"""`/metrics` of the read side: beside what every worker counts, how far the streams and tables of this one are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from prometheus_client.registry import Collector

from projections.app import ReadSide
from projections.operations.lag import heads_of, lag_of
from projections.operations.reach import reach_here
from streams.journal.port import Unavailable
from streams.observability import catalog
from streams.observability.instruments import Instruments, Metric, Reading
from streams.web.lag import StreamLag
from streams.web.metrics import add_metrics as add_page

log = logging.getLogger(__name__)

STREAM_FIGURES: dict[Metric, str] = {
    catalog.STREAM_HEAD: "eventful",
    catalog.STREAM_PUBLISHED: "published",
    catalog.STREAM_UNPUBLISHED: "unpublished_events",
}
TABLE_FIGURES: dict[Metric, str] = {
    catalog.TABLE_APPLIED: "applied",
    catalog.TABLE_LAG_COMMITS: "commits",
    catalog.TABLE_LAG_EVENTS: "events",
    catalog.TABLE_LAG_SECONDS: "seconds",
}
"""By metric the field of `/lag`."""


def add_metrics(side: ReadSide) -> None:
    """Serve `/metrics`. What would have to be asked of a store that does not answer is left out."""

    async def lags() -> Sequence[Collector]:
        try:
            return [_lags(await lags_here(side))]
        except Unavailable as error:
            log.warning("/metrics is without lags: %s", error)
            return []

    _read_tables(side)
    add_page(side.app, lags)


async def lags_here(side: ReadSide) -> list[StreamLag]:
    """How far the streams and tables of this worker are. Raises `Unavailable`."""
    here = await reach_here(side)
    heads = await heads_of(side, sorted({*here.published, *here.applied}))
    return await asyncio.gather(*(lag_of(side, stream, head, [here]) for stream, head in heads.items()))


def _lags(streams: Sequence[StreamLag]) -> Instruments:
    """The figures of `/lag`, as they are at this moment."""
    instruments = Instruments()
    for metric, figure in STREAM_FIGURES.items():
        gauge = instruments.gauge(metric)
        for lag in streams:
            if (value := getattr(lag, figure)) is not None:
                gauge.set(value, lag.stream)
    for metric, figure in TABLE_FIGURES.items():
        gauge = instruments.gauge(metric)
        for lag in streams:
            for table in lag.projections:
                gauge.set(getattr(table, figure), lag.stream, table.table, str(table.serving).lower())
    return instruments


def _read_tables(side: ReadSide) -> None:
    """What needs no store to be asked."""

    def quarantined() -> Iterable[Reading]:
        for source in side.sources.values():
            for partition in source.partitions.values():
                for name, fold in partition.tables.items():
                    yield (partition.stream, name), float(len(fold.quarantined))

    def held() -> Iterable[Reading]:
        counts: dict[str, float] = {}
        for source in side.sources.values():
            for partition in source.partitions.values():
                for name in partition.tables:
                    counts[name] = counts.get(name, 0.0) + bool(partition.held(name))
        return [((name,), count) for name, count in counts.items()]

    instruments = side.app.instruments
    instruments.gauge(catalog.TABLE_QUARANTINED).read(quarantined)
    instruments.gauge(catalog.TABLE_HELD).read(held)
    instruments.gauge(catalog.STREAMS_OPEN).read(lambda: [((), float(side.event_streams.count))])
