"""All tables of one partition of the events: those that are up to date go together, and who is behind catches up alone.

A table is behind when it is built anew, was paused, or when its store failed while the others went on. It has a lane
of its own then, and joins the others when it stands where they do: they wait for that moment, so none misses an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from projections.events import EventReader
from projections.feed import Feed, Reading
from projections.fold import TableFold
from projections.lane import BATCH, DeadLetters, Lane
from projections.projection import Projection
from projections.rebuilding import rebuild
from projections.rows import Place, Rows, StoreDown
from streams.tasks import cancel

log = logging.getLogger(__name__)

MAIN, KEY = "", "?"
"""Tasks that are not of one table."""
NEAR = 5_000
"""Records between two tables that may still go together: the one that is ahead leaves out what it has."""
BATCH_BEHIND = 2_000
"""Records that are applied together to a table that catches up: a row that many of them touch is written once."""


@dataclass(frozen=True)
class Wanted:
    """A table that is to be kept."""

    table: str
    projection: Projection
    rows: Rows
    paused: bool = False
    skips: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Progress:
    """How far a table that is behind has come: records done and in all, since when."""

    began: float
    first: int
    done: int
    total: int

    @property
    def rate(self) -> float:
        """Records a second."""
        return (self.done - self.first) / max(time.monotonic() - self.began, 0.001)


class Partition:
    """Keeps tables up to date with one partition of a topic of events, from `open` to `close`.

    `at_once` bounds how many tables of the worker catch up at the same time. `moved()` is called when something was
    applied, or a table has caught up.
    """

    def __init__(
        self,
        stream: str,
        topic: str,
        partition: int,
        feed: Feed,
        reader: EventReader,
        dead_letters: DeadLetters,
        at_once: asyncio.Semaphore,
        moved: Callable[[], Awaitable[None]],
    ) -> None:
        self.stream = stream
        self.tables: dict[str, TableFold] = {}
        self.progress: dict[str, Progress] = {}
        self.paused: set[str] = set()
        self._topic = topic
        self._partition = partition
        self._feed = feed
        self._reader = reader
        self._dead_letters = dead_letters
        self._at_once = at_once
        self._moved = moved
        self._main = self._lane([])
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._found: set[str] = set()
        self._following = asyncio.Lock()
        self._closed = False

    def _lane(self, tables: Sequence[TableFold], behind: bool = False) -> Lane:
        batch, letters = BATCH_BEHIND if behind else BATCH, self._dead_letters
        return Lane(self.stream, self._partition, self._reader, tables, letters, self._moved, self._catch_up, batch)

    def is_current(self, table: str) -> bool:
        """Whether a table has caught up with the events that are there."""
        return any(it.table == table and self._main.has_all(it) for it in self._main.tables)

    def _goes_with_others(self, name: str) -> bool:
        return any(table.table == name for table in self._main.tables)

    async def open(self, wanted: Sequence[Wanted]) -> None:
        """Begin with these tables."""
        for it in wanted:
            self._add(it)
        running = [table for table in self.tables.values() if table.table not in self.paused]
        for table in running:
            try:
                await self._find(table)
            except Exception as error:  # it is asked again, and the others need not wait for that
                log.error("%s: %s cannot be read: %r", self.stream, table.table, error)
        found = [table for table in running if table.table in self._found]
        furthest = max((table.place.offset for table in found), default=0)
        together = [table for table in found if table.place.offset >= furthest - NEAR]
        if together:
            self._start_main(together)
        for table in running:
            if table not in together:
                self._catch_up(table)

    def _add(self, wanted: Wanted) -> TableFold:
        table = TableFold(wanted.table, wanted.projection, wanted.rows, self._partition, skips=wanted.skips)
        self.tables[table.table] = table
        if wanted.paused:
            self.paused.add(table.table)
        return table

    async def _find(self, table: TableFold) -> None:
        """Learn from its store where a table stands. Raises what the store raises."""
        if table.table not in self._found:
            places = await table.rows.places(self._partition)
            table.quarantined = dict(await table.rows.quarantined(self._partition, table.table))
            table.place = places.get(table.table, Place())
            self._found.add(table.table)

    async def follow(self, wanted: Sequence[Wanted]) -> None:
        """Keep exactly these tables from now on: new ones are built, paused ones stand still."""
        async with self._following:
            names = {it.table for it in wanted}
            for name in [name for name in self.tables if name not in names]:
                await self._stop(name)
                del self.tables[name]
                self.paused.discard(name)
                self._found.discard(name)
            for it in wanted:
                table = self.tables.get(it.table) or self._add(it)
                table.skips = it.skips
                if it.paused:
                    self.paused.add(it.table)
                    await self._stop(it.table)
                else:
                    self.paused.discard(it.table)
                    if not self._goes_with_others(it.table) and it.table not in self._tasks:
                        self._catch_up(table)

    async def close(self) -> None:
        """Apply nothing any more."""
        self._closed = True
        tasks, self._tasks = list(self._tasks.values()), {}
        await asyncio.gather(*map(cancel, tasks))

    async def _stop(self, table: str) -> None:
        task = self._tasks.pop(table, None)
        if task is not None:
            await cancel(task)
            self.progress.pop(table, None)
        async with self._main_still() as main:
            main.tables = [it for it in main.tables if it.table != table]
            task = self._tasks.pop(MAIN, None) if not main.tables else None
        if task is not None:
            await cancel(task)

    @contextlib.asynccontextmanager
    async def _main_still(self) -> AsyncIterator[Lane]:
        """The lane of those that are up to date, in which nothing is applied meanwhile."""
        while True:
            main = self._main
            async with main.changing:
                if main is self._main:  # while one waits, the last of its tables may go and another begin a new one
                    yield main
                    return

    def _begin(self, name: str, work: Coroutine[Any, Any, Any], title: str) -> None:
        if self._closed:
            work.close()
        else:
            self._tasks[name] = asyncio.create_task(work, name=f"{title} {self.stream}")

    # -- the lane of those that are up to date --------------------------------------------------------------

    def _start_main(self, tables: Sequence[TableFold]) -> None:
        self._main = main = self._lane(tables)
        self._begin(MAIN, main.patiently(lambda: self._run_main(main)), "lane")

    async def _run_main(self, lane: Lane) -> None:
        reading = await self._feed.open(self._topic, self._partition)
        try:
            await lane.patiently(lambda: self._begin_main(lane, reading))
            await self._moved()
            await lane.run(reading)
        finally:
            await reading.close()

    async def _begin_main(self, lane: Lane, reading: Reading) -> None:
        async with lane.changing:
            await lane.begin(reading)

    # -- those that are behind ------------------------------------------------------------------------------

    def _catch_up(self, table: TableFold) -> None:
        self.progress[table.table] = Progress(time.monotonic(), 0, 0, 0)
        lane = self._lane([table], behind=True)
        self._begin(table.table, lane.patiently(lambda: self._run_behind(lane, table)), f"catching up {table.table}")

    async def _run_behind(self, lane: Lane, table: TableFold) -> None:
        """Raises what its store raises: then it is to begin again, and waits without holding up others."""
        await self._find(table)
        async with self._at_once:
            reading = await self._feed.open(self._topic, self._partition)
            try:
                await lane.begin(reading)
                progress = self.progress[table.table] = Progress(time.monotonic(), lane.offset, lane.offset, 0)
                while (end := await reading.end()) - lane.offset > NEAR:
                    progress.total = end
                    while end - lane.offset > NEAR:
                        await lane.step(reading)
                        progress.done = lane.offset
            finally:
                await reading.close()
        await self._join(lane, table)

    async def _join(self, lane: Lane, table: TableFold) -> None:
        """Let a table that is near go with the others. They wait until it stands where they do."""
        await self._come_to(self._main, lane)  # most of the way, so that they do not wait for long, nor for its store
        async with self._main_still() as main:
            if main.tables:
                await self._come_to(main, lane)
                main.tables.append(table)
            else:
                self._start_main([table])
            self._tasks.pop(table.table, None)
            self.progress.pop(table.table, None)
        await self._moved()

    async def _come_to(self, main: Lane, lane: Lane) -> None:
        if main.tables:
            nr, index = main.at
            await lane.apply_from_log((nr, index + 1))

    # -- one key ---------------------------------------------------------------------------------------------

    async def rebuild_key(self, name: str, key: str) -> bool:
        """Fold one row anew from the log, in all tables of a projection; whether there is such a row.

        Raises what the projection raises, and then nothing is changed; `StoreDown`, when the partition is given up.
        """
        async with self._following:
            self._begin(KEY, self._rebuild_key(name, key), "folding anew on")
            task = self._tasks.get(KEY)
            try:
                if task is not None:
                    await asyncio.wait([task])
                    if not task.cancelled():
                        return bool(task.result())
                raise StoreDown(f"{self.stream} is not kept here any more")
            finally:
                if task is not None:
                    self._tasks.pop(KEY, None)
                    await cancel(task)

    async def _rebuild_key(self, name: str, key: str) -> bool:
        found = False
        for table in [it for it in self.tables.values() if it.projection.name == name]:
            async with self._standing(table):
                await self._find(table)
                found |= await rebuild(self._reader, self.stream, table, key)
        return found

    @contextlib.asynccontextmanager
    async def _standing(self, table: TableFold) -> AsyncIterator[None]:
        """Nothing is applied to a table meanwhile."""
        if self._goes_with_others(table.table) and not table.projection.local:
            async with self._main_still():
                yield
            return
        # Folding a row of many aggregates takes the whole log: the others do not wait for that.
        runs = table.table not in self.paused
        await self._stop(table.table)
        try:
            yield
        finally:
            if runs:
                self._catch_up(table)
