"""All tables of one partition of the events: those that are up to date go together, and who is behind catches up alone.

A table is behind when it is built anew, was paused, or when its store failed while the others went on. It has a lane
of its own then, and joins the others when it stands where they do: they wait for that moment, so none misses an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from projections.applying.events import EventReader
from projections.applying.feed import TopicReader
from projections.applying.fold import TableFold
from projections.applying.lane import BATCH, FIRST_PAUSE, LONGEST_PAUSE, DeadLetterSink, EventProcessor
from projections.applying.progress import Progress
from projections.projection import Projection
from projections.stores.rows import Changes, Rows, StoreDown
from streams.concurrency.tasks import cancel

T = TypeVar("T")

log = logging.getLogger(__name__)

NEAR = 1_000
"""Records between two tables that may still go together: the one that is ahead leaves out what it has."""
BATCH_BEHIND = 2_000
"""Records that are applied together to a table that catches up: a row that many of them touch is written once."""
MAIN = ""
"""The task of those that are up to date."""


@dataclass(frozen=True)
class TableSpec:
    """A table that is to be kept."""

    table: str
    projection: Projection
    rows: Rows
    paused: bool = False
    skips: Mapping[str, str] = field(default_factory=dict)


class PartitionProcessor:
    """Keeps tables up to date with one partition of a topic of events, from `open` to `close`.

    `at_once` bounds how many tables of the worker catch up at the same time. `moved()` is called when something was
    applied, or a table has caught up.
    """

    def __init__(
        self,
        stream: str,
        topic: str,
        partition: int,
        feed: TopicReader,
        reader: EventReader,
        dead_letters: DeadLetterSink,
        at_once: asyncio.Semaphore,
        moved: Callable[[], Awaitable[None]],
    ) -> None:
        self.stream = stream
        self.tables: dict[str, TableFold] = {}
        self.paused: set[str] = set()
        self.number = partition
        self.moved = moved
        self.reader = reader
        self._topic = topic
        self._feed = feed
        self._dead_letters = dead_letters
        self._at_once = at_once
        self._main = self._lane([])
        self._behind: dict[str, EventProcessor] = {}
        self._unread: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._work: set[asyncio.Task[Any]] = set()
        self._following = asyncio.Lock()
        self._closed = False

    def _lane(self, tables: Sequence[TableFold], behind: bool = False) -> EventProcessor:
        batch, letters = BATCH_BEHIND if behind else BATCH, self._dead_letters
        return EventProcessor(self.stream, self.number, self.reader, tables, letters, self.moved, self._catch_up, batch)

    def is_current(self, table: str) -> bool:
        """Whether a table has all events that the others have, and those that were there when this worker began."""
        return self._goes_along(table) and self._main.has_all(self.tables[table])

    def _goes_along(self, table: str) -> bool:
        return any(it.table == table for it in self._main.tables)

    def held(self, table: str) -> str:
        """Why nothing is applied to a table; empty when nothing keeps it."""
        lane = self._lane_of(table)
        return "" if lane is None else lane.held

    @property
    def knows_log(self) -> bool:
        """Whether the log has what the topic and the tables have, so that a place in one is the same in the others."""
        said = [lane.knows_log for lane in (self._main, *self._behind.values()) if lane.tables]
        return not said or (True in said and False not in said)

    def progress(self, table: str) -> Progress | None:
        """How far the lane of a table is; None when it has none: it is paused."""
        lane = self._lane_of(table)
        return None if lane is None else lane.progress

    def _lane_of(self, table: str) -> EventProcessor | None:
        return self._main if self._goes_along(table) else self._behind.get(table)

    async def open(self, wanted: Sequence[TableSpec]) -> None:
        """Begin with these tables."""
        for it in wanted:
            await self._add(it)
        running = [table for table in self.tables.values() if table.table not in self.paused]
        furthest = max((table.place.offset for table in running), default=0)
        together = [
            table for table in running if table.place.offset >= furthest - NEAR and table.table not in self._unread
        ]
        if together:
            self._start_main(together)
        for table in running:
            if table not in together:
                self._catch_up(table)

    async def _add(self, wanted: TableSpec) -> TableFold:
        table = TableFold(wanted.table, wanted.projection, wanted.rows, self.number, skips=wanted.skips)
        self.tables[table.table] = table
        if wanted.paused:
            self.paused.add(table.table)
        self._unread.add(table.table)
        try:
            await self._read_place(table)
        except Exception as error:  # the others need not wait for this store
            log.error("%s: how far %s is cannot be read: %s", self.stream, table.table, error)
        return table

    async def _read_place(self, table: TableFold) -> None:
        places = await table.rows.places(self.number)
        table.quarantined = dict(await table.rows.quarantined(self.number, table.table))
        table.place = places.get(table.table, table.place)
        self._unread.discard(table.table)

    async def follow(self, wanted: Sequence[TableSpec]) -> None:
        """Keep exactly these tables from now on: new ones are built, paused ones stand still."""
        async with self._following:
            names = {it.table for it in wanted}
            for name in [name for name in self.tables if name not in names]:
                await self._stop(name)
                del self.tables[name]
                self.paused.discard(name)
                self._unread.discard(name)
            for it in wanted:
                table = self.tables.get(it.table) or await self._add(it)
                table.skips = it.skips
                if it.paused:
                    self.paused.add(it.table)
                    await self._stop(it.table)
                else:
                    self.paused.discard(it.table)
                    if self._lane_of(it.table) is None:
                        self._catch_up(table)

    async def close(self) -> None:
        """Apply nothing any more."""
        self._closed = True
        tasks, self._tasks = [*self._tasks.values(), *self._work], {}
        await asyncio.gather(*map(cancel, tasks), return_exceptions=True)

    async def while_open(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that `close` breaks off: it raises `StoreDown` then."""
        task = asyncio.create_task(work)
        self._work.add(task)
        try:
            await asyncio.wait([task])
        finally:
            self._work.discard(task)
            task.cancel()
        if task.cancelled():
            raise StoreDown(f"{self.stream} has just moved to another worker")
        return task.result()

    async def _stop(self, table: str) -> None:
        await self._stop_behind(table)
        async with self._main_stands() as main:
            main.tables = [it for it in main.tables if it.table != table]
        await self._stop_behind(table)  # it may have been set aside before the lane stood
        if not self._main.tables and (running := self._tasks.pop(MAIN, None)) is not None:
            await cancel(running)

    async def _stop_behind(self, table: str) -> None:
        self._behind.pop(table, None)
        if (task := self._tasks.pop(table, None)) is not None:
            await cancel(task)

    @contextlib.asynccontextmanager
    async def standing(self, table: TableFold) -> AsyncIterator[None]:
        """Nothing is applied to a table meanwhile."""
        if self._goes_along(table.table):
            async with self._main_stands():
                yield
            return
        async with self._following:
            behind = table.table in self._behind
            await self._stop(table.table)
            try:
                if table.table in self._unread:
                    await self._read_place(table)
                yield
            finally:
                if behind:
                    self._catch_up(table)

    # -- the lane of those that are up to date --------------------------------------------------------------

    def _run(self, name: str, lane: EventProcessor, work: Callable[[], Awaitable[None]]) -> None:
        async def again() -> None:
            said = ""
            while True:
                try:
                    return await work()
                except Exception as error:
                    lane.held = f"{type(error).__name__}: {error}"
                    if lane.held != said:
                        log.exception("%s: a lane failed, and begins again", self.stream)
                    said = lane.held
                    await asyncio.sleep(LONGEST_PAUSE)

        if not self._closed:
            self._tasks[name] = asyncio.create_task(again(), name=f"lane {self.stream} {name}")

    @contextlib.asynccontextmanager
    async def _main_stands(self) -> AsyncIterator[EventProcessor]:
        while True:
            main = self._main
            async with main.changing:
                if main is self._main:
                    yield main
                    return

    def _start_main(self, tables: Sequence[TableFold]) -> None:
        self._main = main = self._lane(tables)
        self._run(MAIN, main, lambda: self._run_main(main))

    async def _run_main(self, lane: EventProcessor) -> None:
        reading = await self._feed.open(self._topic, self.number)

        async def begin() -> None:
            async with lane.changing:
                await lane.begin(reading)

        try:
            await lane.patiently(begin)
            await self.moved()
            await lane.run(reading)
        finally:
            await reading.close()

    # -- those that are behind ------------------------------------------------------------------------------

    def _catch_up(self, table: TableFold) -> None:
        self._behind[table.table] = lane = self._lane([table], behind=True)
        self._run(table.table, lane, lambda: self._run_behind(table, lane))

    async def _run_behind(self, table: TableFold, lane: EventProcessor) -> None:
        pause = FIRST_PAUSE
        while True:
            async with self._at_once:
                if await self._bring_near(table, lane):
                    break
            # Not for as long as its store is down: others may want to catch up.
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        await lane.patiently(lambda: self._join(table, lane))
        await self.moved()

    async def _bring_near(self, table: TableFold, lane: EventProcessor) -> bool:
        """False when it must be tried again."""
        if table.table in self._unread and not await lane.attempt(lambda: self._read_place(table), settles=False):
            return False
        reading = await self._feed.open(self._topic, self.number)
        try:
            if not await lane.attempt(lambda: lane.begin(reading), settles=False):
                return False
            while (end := await reading.end()) - lane.offset > NEAR:
                lane.progress.end = end
                while end - lane.offset > NEAR:
                    if not await lane.try_step(reading):
                        return False
            return True
        finally:
            await reading.close()

    async def _join(self, table: TableFold, lane: EventProcessor) -> None:
        """Let a table that is near go with the others. They wait until it stands where they do."""
        await self._come_to(self._main, lane)  # most of the way, so that they do not wait for long, nor for its store
        async with self._main_stands() as main:
            if main.tables:
                await self._come_to(main, lane)
                if table.place.at == main.at and table.place.offset < main.offset:
                    # What it has from the log it need not look for in the topic when it begins again.
                    table.place = msgspec.structs.replace(table.place, offset=main.offset)
                    await table.rows.save(self.number, {table.table: Changes(table.place)})
                main.join(table)
            else:
                self._start_main([table])
            self._tasks.pop(table.table, None)
            self._behind.pop(table.table, None)

    async def _come_to(self, main: EventProcessor, lane: EventProcessor) -> None:
        if main.tables:
            nr, index = main.at
            await lane.apply_from_log((nr, index + 1))
