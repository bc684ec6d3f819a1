"""`/figures`: how many commands were decided, how long people and tables waited, and how far tables were behind, in the
last hour.

Each worker notes this every ten seconds, of its own partitions and its own requests; who is asked asks the others. No
other program is needed, and what a worker has noted ends with it: Prometheus remembers longer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from projections.app import ReadSide
from projections.http.forwarding import HOP
from projections.operations.metrics import lags_here
from projections.routing.cutover import first_projection
from projections.stores.declaration import projection_name
from streams.access.principal import Role
from streams.concurrency.tasks import cancel
from streams.journal.position import stream_type
from streams.observability import catalog
from streams.observability.history import POINT_SECONDS, History
from streams.observability.instruments import Histogram, Labels, quantile
from streams.runtime.part import Part
from streams.web.health import json_response
from streams.web.lag import StreamLag
from streams.web.operation import describe

log = logging.getLogger(__name__)

AFTER_SECONDS = 0.05
"""So much later than it is due a point is noted: the loop has another clock, and may be early."""

Points = Sequence[float | None]


class Figures(msgspec.Struct, frozen=True):
    """Points of the last hour, the oldest first; null where it is not known.

    commands              decided a second, in all workers of the write side, whoever sent them
    events                applied to tables a second; each table counts
    requests              answered over HTTP a second
    command_p50, command_p99    seconds that a command over HTTP took to its answer
    visible_p50, visible_p99    seconds from a decision to its events being in a table
    lag_events, lag_seconds     of the table that is the furthest behind: events, and the age of the oldest of them
    """

    commands: Points = ()
    events: Points = ()
    requests: Points = ()
    command_p50: Points = ()
    command_p99: Points = ()
    visible_p50: Points = ()
    visible_p99: Points = ()
    lag_events: Points = ()
    lag_seconds: Points = ()


class FiguresAnswer(msgspec.Struct, frozen=True):
    """The answer of `/figures`: the newest point is at `until` (UTC), and points are so many `seconds` apart."""

    until: datetime
    seconds: int
    figures: Figures


SUMS = ("commands", "events", "requests")
"""Those that are added up over workers; of the others the largest counts."""


class FiguresRecorder(Part):
    """Notes the figures of one worker, point by point."""

    def __init__(self, side: ReadSide) -> None:
        self._side = side
        self._noting: asyncio.Task[None] | None = None
        self.history = History(Figures.__struct_fields__)
        self._decided: dict[str, int] = {}
        """By stream the commands that were ever decided."""
        instruments = side.app.instruments
        self._events = instruments.counter(catalog.TABLE_EVENTS)
        self._requests = instruments.counter(catalog.HTTP_REQUESTS)
        self._counts: dict[str, float] = {}
        self._http = Window(instruments.histogram(catalog.HTTP_SECONDS), is_command)
        self._visible = Window(instruments.histogram(catalog.VISIBLE_SECONDS), lambda labels: True)

    async def start(self) -> None:
        self._noting = self._side.app.supervisor.keep("noting figures", self._note)

    async def stop(self) -> None:
        if self._noting is not None:
            await cancel(self._noting)

    async def _note(self) -> None:
        """Note a point whenever one is due, for ever."""
        noted = time.time()
        await self._look(POINT_SECONDS)
        while True:
            await asyncio.sleep(POINT_SECONDS - time.time() % POINT_SECONDS + AFTER_SECONDS)
            now = time.time()
            self.history.note(now, await self._look(max(now - noted, 1.0)))
            noted = now

    async def _look(self, seconds: float) -> dict[str, float | None]:
        """The figures since the last look, so many seconds ago."""
        try:
            lags: Sequence[StreamLag] | None = await lags_here(self._side)
        except Exception as error:  # whatever it is: the worker serves all the same
            log.info("/figures is without lag: %r", error)
            lags = None
        return {
            "commands": None if lags is None else self._decided_since(filter(self._counts_here, lags)) / seconds,
            "events": self._since("events", self._events.total) / seconds,
            "requests": self._since("requests", self._requests.total) / seconds,
            **self._http.quantiles("command"),
            **self._visible.quantiles("visible"),
            "lag_events": None if lags is None else max((lag.events for lag in lags), default=0),
            "lag_seconds": None if lags is None else max((lag.seconds for lag in lags), default=0.0),
        }

    def _since(self, name: str, count: float) -> float:
        before, self._counts[name] = self._counts.get(name, count), count
        return count - before

    def _counts_here(self, lag: StreamLag) -> bool:
        """Whether the commands of a stream count in this worker: in the one that has its first table, not also in the
        one that publishes it. A stream without tables counts where it is published."""
        kept = self._side.sources[stream_type(lag.stream)].kept
        return not kept or any(projection_name(table.table) == kept[0].name for table in lag.projections)

    def _decided_since(self, lags: Iterable[StreamLag]) -> int:
        """Commands decided in the partitions that were here at the last look, too: offsets count them."""
        before = self._decided
        self._decided = {lag.stream: 0 if lag.committed_offset is None else lag.committed_offset + 1 for lag in lags}
        return sum(max(count - before.get(stream, count), 0) for stream, count in self._decided.items())


def is_command(labels: Labels) -> bool:
    method, route = labels
    return method == "POST" and route.endswith("/commands")


class Window:
    """What a histogram has got since the last look, of the series that are `wanted`."""

    def __init__(self, histogram: Histogram, wanted: Callable[[Labels], bool]) -> None:
        self._histogram = histogram
        self._wanted = wanted
        self._before: list[int] = []

    def quantiles(self, name: str) -> dict[str, float | None]:
        """The median, and what 99 of 100 are below."""
        bounds = self._histogram.metric.buckets
        spreads = [spread.counts for labels, spread in self._histogram.series.items() if self._wanted(labels)]
        counts = [sum(column) for column in zip(*spreads, strict=True)] or [0] * (len(bounds) + 1)
        before, self._before = self._before or counts, counts
        new = [count - former for count, former in zip(counts, before, strict=True)]
        return {f"{name}_p50": quantile(0.5, bounds, new), f"{name}_p99": quantile(0.99, bounds, new)}


def together(workers: Sequence[Mapping[str, Points]]) -> Figures:
    """The figures of all workers as one."""

    def point(name: str, values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        if not known:
            return None
        return sum(known) if name in SUMS else max(known)

    return Figures(
        **{
            name: [point(name, values) for values in zip(*(worker[name] for worker in workers), strict=True)]
            for name in Figures.__struct_fields__
        }
    )


def add_figures(side: ReadSide) -> None:
    """Note the figures of this worker, and serve `/figures`: those of all."""
    recorder = FiguresRecorder(side)
    side.app.add(recorder)

    @side.app.page("/figures")
    @describe(
        "operations",
        "Commands a second, waiting times and lag of the last hour",
        FiguresAnswer,
        problems=(503,),
        role=Role.AUDITOR,
    )
    async def figures(view: Any, request: Any) -> Any:
        first = first_projection(side.sources)
        now = time.time()
        if HOP in request.headers:
            return side.doors.part(view, first, recorder.history.until(now))
        answers = await side.doors.each(first, "/figures", {}, lambda: recorder.history.until(now))
        whole = together([msgspec.convert(answer, dict[str, list[float | None]]) for answer in answers])
        until = datetime.fromtimestamp(now // POINT_SECONDS * POINT_SECONDS, UTC)
        return json_response(view, FiguresAnswer(until, POINT_SECONDS, whole))
