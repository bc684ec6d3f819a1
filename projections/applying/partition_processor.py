"""All tables of one partition of the events: those that are up to date go together, and who is behind catches up alone.

A table is behind when it is built anew, was paused, or when its store failed while the others went on. It has a
processor of its own then, and joins the others when it stands where they do: they wait for that moment, so none misses
an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from projections.applying.event_processor import DeadLetterSink, EventProcessor, save_places
from projections.applying.event_source import Batch, PublishedStream
from projections.applying.fold import TableFold
from projections.applying.progress import Progress
from projections.projection import Projection
from projections.stores.rows import Changes, Rows
from streams.concurrency.tasks import cancel
from streams.journal.port import Unavailable
from streams.journal.position import position_text
from streams.observability.event_traces import AppliedEvent, TableTraces
from streams.observability.instruments import Instruments
from streams.observability.table_metrics import TableMetrics
from streams.observability.traces import SAMPLED_BYTES

T = TypeVar("T")

log = logging.getLogger(__name__)

NEAR = 1_000
"""Records between two tables that may still go together: the one that is ahead leaves out what it has. As many commits
of the log may be read to bring them together, of all its slices."""
BATCH = 500
"""Records that are applied together: few enough that queries need not wait long for their turn."""
BATCH_BEHIND = 2_000
"""To a table that catches up: a row that many of them touch is written once."""


@dataclass(frozen=True)
class TableSpec:
    """A table that is to be kept."""

    table: str
    projection: Projection
    rows: Rows
    paused: bool = False
    skips: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class PartitionTable(TableFold):
    """A table in one partition, and who applies events to it."""

    paused: bool = False
    is_read: bool = False
    """Whether its store has said how far it is."""
    processor: EventProcessor | None = None
    """None when it is paused."""


class PartitionProcessor:
    """Keeps tables up to date with one partition of a topic of events, from `open` to `close`.

    `at_once` bounds how many tables of the worker catch up at the same time. `moved()` is called when something was
    applied, or a table has caught up. `has_nothing(table)` is called when the store of a table has no place of it here,
    before anything is applied to it.
    """

    def __init__(
        self,
        events: PublishedStream,
        *,
        dead_letters: DeadLetterSink,
        at_once: asyncio.Semaphore,
        moved: Callable[[], Awaitable[None]],
        has_nothing: Callable[[PartitionTable], Awaitable[None]],
        metrics: TableMetrics | None = None,
        traces: TableTraces | None = None,
    ) -> None:
        self.stream = events.name
        self.number = events.partition
        self.reader = events.reader
        self.tables: dict[str, PartitionTable] = {}
        self.moved = moved
        self._has_nothing = has_nothing
        self._events = events
        self._dead_letters = dead_letters
        self._at_once = at_once
        self._metrics = metrics or TableMetrics(Instruments(), events.name)
        self._traces = traces
        self._main = self._processor([])
        """Of the tables that are up to date."""
        self._work: dict[asyncio.Task[Any], None] = {}
        """In order: they are ended in the same one in each run of the simulation."""
        self._following = asyncio.Lock()
        self._closed = False

    def _processor(self, tables: Sequence[PartitionTable]) -> EventProcessor:
        processor = EventProcessor(self._events, self._dead_letters, tables)
        for table in tables:
            table.processor = processor
        return processor

    # -- how it is -----------------------------------------------------------------------------------------

    def is_current(self, table: str) -> bool:
        """Whether a table has all events that the others have, and those that were there when this worker began."""
        return self._goes_along(self.tables.get(table)) and self._main.has_all(self.tables[table])

    def _goes_along(self, table: PartitionTable | None) -> bool:
        return table is not None and table.processor is self._main

    def held(self, table: str) -> str:
        """Why nothing is applied to a table; empty when nothing keeps it."""
        processor = self.tables[table].processor if table in self.tables else None
        return "" if processor is None else processor.held

    def progress(self, table: str) -> Progress | None:
        """How far the processor of a table is; None when it has none: it is paused."""
        processor = self.tables[table].processor if table in self.tables else None
        return None if processor is None else processor.progress

    @property
    def knows_log(self) -> bool:
        """Whether the log has what the topic and the tables have, so that a place in one is the same in the others."""
        processors = {table.processor for table in self.tables.values() if table.processor is not None}
        known = [processor.knows_log for processor in processors]
        return not known or (True in known and False not in known)

    # -- which tables --------------------------------------------------------------------------------------

    async def open(self, wanted: Sequence[TableSpec]) -> None:
        """Begin with these tables."""
        running = [table for table in [await self._add(spec) for spec in wanted] if not table.paused]
        furthest = max((table.place.offset for table in running), default=0)
        together = [table for table in running if table.is_read and table.place.offset >= furthest - NEAR]
        if together:
            self._start_main(together)
        for table in running:
            if table.processor is None:
                self._catch_up(table)

    async def _add(self, wanted: TableSpec) -> PartitionTable:
        table = PartitionTable(
            wanted.table, wanted.projection, wanted.rows, self.number, skips=wanted.skips, paused=wanted.paused,
            whole=self.reader.reaches_back,
        )  # fmt: skip
        self.tables[table.table] = table
        try:
            await self._read_place(table)
        except Exception as error:  # the others need not wait for this store
            log.error("%s: how far %s is cannot be read: %s", self.stream, table.table, str(error) or repr(error))
        return table

    async def _read_place(self, table: PartitionTable) -> None:
        places = await table.rows.places(self.number)
        table.quarantined = dict(await table.rows.quarantined(self.number, table.table))
        if table.table not in places:
            await self._has_nothing(table)
        table.place = places.get(table.table, table.place)
        table.is_read = True

    async def follow(self, wanted: Sequence[TableSpec]) -> None:
        """Keep exactly these tables from now on: new ones are built, paused ones stand still."""
        async with self._following:
            names = {spec.table for spec in wanted}
            for name in [name for name in self.tables if name not in names]:
                await self._stop(self.tables[name])
                del self.tables[name]
            for spec in wanted:
                table = self.tables.get(spec.table) or await self._add(spec)
                table.skips, table.paused = spec.skips, spec.paused
                if table.paused:
                    await self._stop(table)
                    await save_places([table])
                elif table.processor is None:
                    self._catch_up(table)

    async def close(self) -> None:
        """Apply nothing any more."""
        self._closed = True
        processors = [self._main, *(table.processor for table in self.tables.values() if table.processor is not None)]
        tasks = [processor.task for processor in dict.fromkeys(processors) if processor.task is not None]
        await asyncio.gather(*map(cancel, [*tasks, *self._work]), return_exceptions=True)

    async def _stop(self, table: PartitionTable) -> None:
        """Apply nothing to a table any more. Before its processor has ended the table may have changed to another."""
        while (processor := table.processor) is not None:
            if processor is not self._main:
                table.processor = None
                await _end(processor)
                continue
            async with self._main_stands() as main:
                if table.processor is main:
                    main.tables.remove(table)
                    table.processor = None
            if not main.tables:
                await _end(main)

    async def while_open(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that `close` breaks off: it raises `Unavailable` then."""
        task = asyncio.create_task(work)
        self._work[task] = None
        try:
            await asyncio.wait([task])
        finally:
            self._work.pop(task, None)
            task.cancel()
        if task.cancelled():
            raise Unavailable(f"{self.stream} has just moved to another worker")
        return task.result()

    @contextlib.asynccontextmanager
    async def standing(self, table: PartitionTable) -> AsyncIterator[None]:
        """Nothing is applied to a table meanwhile."""
        if self._goes_along(table):
            async with self._main_stands():
                yield
            return
        async with self._following:
            behind = table.processor is not None
            await self._stop(table)
            try:
                if not table.is_read:
                    await self._read_place(table)
                yield
            finally:
                if behind:
                    self._catch_up(table)

    # -- those that are up to date ---------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _main_stands(self) -> AsyncIterator[EventProcessor]:
        while True:
            main = self._main
            async with main.changing:
                if main is self._main:
                    yield main
                    return

    def _start(self, processor: EventProcessor, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
        else:
            processor.task = asyncio.create_task(work, name=f"events of {self.stream}")

    def _start_main(self, tables: Sequence[PartitionTable]) -> None:
        self._main = main = self._processor(tables)
        self._start(main, main.until_done(lambda: self._keep_up(main)))

    async def _keep_up(self, main: EventProcessor) -> None:
        async with main.batches(BATCH) as batches:
            await self.moved()  # what the tables have is known to be of this log
            async for batch in batches:
                await self._apply(main, batch)

    async def _apply(self, processor: EventProcessor, batch: Batch) -> None:
        async with processor.changing:
            names, began = [table.table for table in processor.tables], time.monotonic()
            is_live = processor is self._main and processor.has_caught_up
            try:
                failed = await processor.apply(batch)
            except Exception:
                self._metrics.failed(names)
                raise
            self._metrics.failed(table.table for table in failed)
            self._metrics.applied(
                [table.table for table in processor.tables],
                [event.origin.time for event in batch.events],
                time.monotonic() - began,
                is_live=is_live,
            )
            if self._traces is not None:
                self._trace(processor, batch, time.monotonic() - began)
            for table in failed:
                self._catch_up(self.tables[table.table])
        await self.moved()

    def _trace(self, processor: EventProcessor, batch: Batch, seconds: float) -> None:
        kept = [event for event in batch.events if event.trace[-1:] in SAMPLED_BYTES]
        if kept and self._traces is not None:
            told = [
                AppliedEvent(
                    event.trace.decode(errors="replace"),
                    position_text(self.stream, *event.at),
                    event.origin.type,
                    event.origin.time,
                )
                for event in kept
            ]
            self._traces.applied(told, [table.table for table in processor.tables], seconds)

    # -- those that are behind -------------------------------------------------------------------------------

    def _catch_up(self, table: PartitionTable) -> None:
        build = self._processor([table])
        self._start(build, self._build(table, build))

    async def _build(self, table: PartitionTable, build: EventProcessor) -> None:
        joined = False
        while not joined:
            await build.until_done(lambda: self._bring_near(table, build))
            joined = await build.until_done(lambda: self._join(table, build))
        await self.moved()

    async def _bring_near(self, table: PartitionTable, build: EventProcessor) -> None:
        async with self._at_once:  # left at each failure: others may want to catch up while a store is down
            if not table.is_read:
                await self._read_place(table)
            async with build.batches(BATCH_BEHIND) as batches:
                async for batch in batches:
                    await self._apply(build, batch)
                    if batch.offset is not None and await build.distance() <= NEAR and self._is_near(table):
                        return

    def _is_near(self, table: PartitionTable) -> bool:
        """Whether few commits lie between a table and the others. Of a slice in which little happens there may be any
        number between two events, so it goes on with the topic."""
        main = self._main
        return not main.tables or not self.reader.reaches_back or main.at[0] - table.place.nr <= NEAR

    async def _join(self, table: PartitionTable, build: EventProcessor) -> bool:
        """Let a table that is near go with the others. They wait until it stands where they do. False when they have
        gone far meanwhile."""
        if not self._is_near(table):
            return False
        # Most of the way beforehand, so that the others do not wait for long, nor for its store.
        await self._come_to(self._main, table, build)
        async with self._main_stands() as main:
            if not main.tables:
                self._start_main([table])
                return True
            if not self._is_near(table):
                return False
            await self._come_to(main, table, build)
            if table.place.at == main.at and table.place.offset < main.offset:
                # What it has from the log it need not look for in the topic when it begins again.
                table.place = msgspec.structs.replace(table.place, offset=main.offset)
                await table.rows.save(self.number, {table.table: Changes(table.place)})
            main.join(table)
            table.processor = main
            return True

    async def _come_to(self, main: EventProcessor, table: PartitionTable, build: EventProcessor) -> None:
        nr, index = main.at
        if main.tables and table.place.at < main.at:
            place = table.place
            async for events in self.reader.from_log(self.stream, place.at, (nr, index + 1), place.offset):
                await build.apply(Batch(events, None))


async def _end(processor: EventProcessor) -> None:
    if processor.task is not None:
        await cancel(processor.task)
