"""All tables of one partition of the events: those that are up to date go together, and who is behind catches up alone.

A table is behind when it is built anew, was paused, or when its store failed while the others went on. It has a lane
of its own then, and joins the others when it stands where they do: they wait for that moment, so none misses an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from projections.events import EventReader
from projections.feed import Feed
from projections.fold import TableFold
from projections.lane import BATCH, DeadLetters, Lane
from projections.projection import Projection
from projections.rebuilding import fold_key
from projections.rows import Changes, Quarantined, Rows
from streams.tasks import cancel

log = logging.getLogger(__name__)

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
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._following = asyncio.Lock()

    def _lane(self, tables: Sequence[TableFold], batch: int = BATCH) -> Lane:
        return Lane(
            self.stream, self._partition, self._reader, tables, self._dead_letters, self._moved, self._catch_up, batch
        )

    def is_current(self, table: str) -> bool:
        """Whether a table has caught up with the events that are there."""
        return any(it.table == table for it in self._main.tables)

    async def open(self, wanted: Sequence[Wanted]) -> None:
        """Begin with these tables."""
        for it in wanted:
            await self._add(it)
        running = [table for table in self.tables.values() if table.table not in self.paused]
        furthest = max((table.place.offset for table in running), default=0)
        together = [table for table in running if table.place.offset >= furthest - NEAR]
        if together:
            self._start_main(together)
        for table in running:
            if table not in together:
                self._catch_up(table)

    async def _add(self, wanted: Wanted) -> TableFold:
        places = await wanted.rows.places(self._partition)
        quarantined = await wanted.rows.quarantined(self._partition, wanted.table)
        table = TableFold(wanted.table, wanted.projection, wanted.rows, self._partition)
        if wanted.table in places:
            table.place = places[wanted.table]
        table.quarantined = dict(quarantined)
        table.skips = wanted.skips
        self.tables[table.table] = table
        if wanted.paused:
            self.paused.add(table.table)
        return table

    async def follow(self, wanted: Sequence[Wanted]) -> None:
        """Keep exactly these tables from now on: new ones are built, paused ones stand still."""
        async with self._following:
            names = {it.table for it in wanted}
            for name in self.tables.keys() - names:
                await self._stop(name)
                del self.tables[name]
                self.paused.discard(name)
            for it in wanted:
                table = self.tables.get(it.table) or await self._add(it)
                table.skips = it.skips
                if it.paused:
                    self.paused.add(it.table)
                    await self._stop(it.table)
                else:
                    self.paused.discard(it.table)
                    if not self.is_current(it.table) and it.table not in self._tasks:
                        self._catch_up(table)

    async def close(self) -> None:
        """Apply nothing any more."""
        tasks, self._tasks = list(self._tasks.values()), {}
        await asyncio.gather(*map(cancel, tasks))

    async def _stop(self, table: str) -> None:
        task = self._tasks.pop(table, None)
        if task is not None:
            await cancel(task)
            self.progress.pop(table, None)
        async with self._main.changing:
            self._main.tables = [it for it in self._main.tables if it.table != table]
        if not self._main.tables and (main := self._tasks.pop("", None)) is not None:
            await cancel(main)

    # -- the lane of those that are up to date --------------------------------------------------------------

    def _start_main(self, tables: Sequence[TableFold]) -> None:
        self._main = self._lane(tables)
        self._tasks[""] = asyncio.create_task(self._run_main(self._main), name=f"lane {self.stream}")

    async def _run_main(self, lane: Lane) -> None:
        reading = await self._feed.open(self._topic, self._partition)
        try:
            async with lane.changing:
                await lane.patiently(lambda: lane.begin(reading))
            await self._moved()
            await lane.run(reading)
        finally:
            await reading.close()

    # -- those that are behind ------------------------------------------------------------------------------

    def _catch_up(self, table: TableFold) -> None:
        self.progress[table.table] = Progress(time.monotonic(), 0, 0, 0)
        self._tasks[table.table] = asyncio.create_task(self._run_behind(table), name=f"catching up {table.table}")

    async def _run_behind(self, table: TableFold) -> None:
        lane = self._lane([table], BATCH_BEHIND)
        async with self._at_once:
            reading = await self._feed.open(self._topic, self._partition)
            try:
                await lane.patiently(lambda: lane.begin(reading))
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
        async with self._main.changing:
            if self._main.tables:
                nr, index = self._main.at
                await lane.patiently(lambda: lane.apply_from_log((nr, index + 1)))
                self._main.tables.append(table)
            else:
                self._start_main([table])
            self._tasks.pop(table.table, None)
            self.progress.pop(table.table, None)
        await self._moved()

    # -- one key ---------------------------------------------------------------------------------------------

    async def rebuild_key(self, name: str, key: str) -> bool:
        """Fold one row anew from the log, in all tables of a projection; whether there is such a row.

        Raises what the projection raises, and then nothing is changed.
        """
        found = False
        for table in [it for it in self.tables.values() if it.projection.name == name]:
            async with self._standing(table):
                row = await fold_key(self._reader, self.stream, table, key)
                quarantined = {}
                if key in table.quarantined:
                    at = row["position"] if row is not None else table.quarantined[key].position
                    quarantined[key] = Quarantined(at, "", 0)
                if row is not None or quarantined:
                    found = True
                    changes = Changes(table.place, {key: row} if row is not None else {}, quarantined)
                    await table.rows.save(self._partition, {table.table: changes})
                    table.quarantined.pop(key, None)
        return found

    @contextlib.asynccontextmanager
    async def _standing(self, table: TableFold) -> AsyncIterator[None]:
        """Nothing is applied to a table meanwhile."""
        if self.is_current(table.table):
            async with self._main.changing:
                yield
            return
        behind = table.table in self._tasks
        await self._stop(table.table)
        try:
            yield
        finally:
            if behind:
                self._catch_up(table)
