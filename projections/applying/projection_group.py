"""One aggregate type on the read side: its events by partition, and the tables that are kept of them here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from projections.applying.control import Control
from projections.applying.dead_letters import ProjectionDeadLetters
from projections.applying.event_reader import EventReader
from projections.applying.event_source import PublishedStream
from projections.applying.partition_processor import PartitionProcessor, PartitionTable, TableSpec
from projections.applying.topic_reader import TopicReader
from projections.applying.waits import MostAtOnce, Waits
from projections.http.problems import NotNow
from projections.stores.declaration import Table, version_of
from projections.stores.rows import Rows
from streams.concurrency.tasks import all_of, cancel, each_done
from streams.journal.position import stream_name
from streams.notices import warn
from streams.observability.event_traces import TableTraces
from streams.observability.table_metrics import TableMetrics

log = logging.getLogger(__name__)

DROP_AGAIN_SECONDS = 5.0


class ProjectionGroup:
    """The tables of the projections of one aggregate type in this worker.

    `rows_of(kept)` gives the store of a projection, `here(kept)` the partitions of it that this worker has.
    """

    def __init__(
        self,
        type: str,
        topic: str,
        kept: Sequence[Table],
        *,
        rows_of: Callable[[Table], Rows],
        here: Callable[[Table], Collection[int]],
        control: Control,
        feed: TopicReader,
        reader: EventReader,
        dead_letters: ProjectionDeadLetters,
        at_once: asyncio.Semaphore,
        metrics: TableMetrics | None = None,
        traces: TableTraces | None = None,
    ) -> None:
        self.type = type
        self.kept = kept
        self.partitions: dict[int, PartitionProcessor] = {}
        self._waits = Waits()
        self.topic = topic
        self._rows_of = rows_of
        self._here = here
        self._control = control
        self._feed = feed
        self.reader = reader
        self._dead_letters = dead_letters
        self._at_once = at_once
        self._metrics = metrics
        self._traces = traces
        self._changing = asyncio.Lock()
        self._to_drop = asyncio.Event()
        self._dropping: asyncio.Task[None] | None = None
        self._withdrawing = asyncio.Lock()

    async def open(self) -> None:
        """Keep the tables of all partitions that this worker has. Where it has raised, it may be called again."""
        async with self._changing:
            await self._close()
            since = asyncio.get_running_loop().time()
            found = {partition for kept in self.kept for partition in self._here(kept)}
            await self._feed.share(self.topic, found)
            for number in sorted(found):
                stream = PublishedStream(
                    name=stream_name(self.type, number),
                    topic=self.topic,
                    partition=number,
                    since=since,
                    topics=self._feed,
                    reader=self.reader,
                )
                partition = PartitionProcessor(
                    stream,
                    dead_letters=self._dead_letters,
                    at_once=self._at_once,
                    moved=partial(self._has_moved, number),
                    has_nothing=partial(self._withdraw_where_events_are, stream),
                    metrics=self._metrics,
                    traces=self._traces,
                )
                self.partitions[number] = partition
            # Side by side: each asks its stores how far its tables are.
            await all_of(partition.open(self._wanted(number)) for number, partition in self.partitions.items())
            self._drop_soon()

    async def close(self) -> None:
        """Keep nothing any more."""
        async with self._changing:
            await self._close()

    async def _close(self) -> None:
        partitions, self.partitions = list(self.partitions.values()), {}
        self._waits.fail(f"the partitions of {self.type} have just moved, or this worker ends")
        ends = [partition.close() for partition in partitions]
        await each_done(*ends, *([] if self._dropping is None else [cancel(self._dropping)]))
        await self._feed.share(self.topic, ())

    async def follow(self) -> None:
        """The orders have changed: build, pause, go on, remove."""
        async with self._changing:
            for number, partition in self.partitions.items():
                await partition.follow(self._wanted(number))
            self._drop_soon()
        for number in list(self.partitions):  # another table may answer now, which has what somebody waits for
            await self._has_moved(number)

    async def _withdraw_where_events_are(self, stream: PublishedStream, table: PartitionTable) -> None:
        """A table that answers had all events of each partition: where it has nothing of them, its store is another
        one, or was emptied. It answers again when it is complete, as any new one. Raises `Unavailable`, and
        `TimeoutError` where the order cannot be given."""
        name = table.projection.name
        async with self._withdrawing:  # one order is enough for all partitions
            if self._control.serving(name) == table.table and await stream.reader.has_events(stream.name, stream.since):
                text = "table %s has nothing of %s, and answered: not any more until it is built again"
                warn(log, "rows-gone", table.table, text, table.table, stream.name)
                await self._control.withdraw(name, table.table)

    def _drop_soon(self) -> None:
        # On the side: a large table takes a while, and a rebalance must not wait for that.
        self._to_drop.set()
        if self.partitions and (self._dropping is None or self._dropping.done()):
            self._dropping = asyncio.create_task(self._drop_for_ever(), name=f"dropping {self.type}")

    async def _drop_for_ever(self) -> None:
        said = ""
        while True:
            await self._to_drop.wait()
            self._to_drop.clear()
            try:
                for partition in list(self.partitions):
                    await self._drop(partition)
            except Exception as error:
                if str(error) != said:
                    log.error("%s: tables that are to be removed stay for now: %s", self.type, error)
                said = str(error)
                await asyncio.sleep(DROP_AGAIN_SECONDS)
                self._to_drop.set()

    async def _drop(self, partition: int) -> None:
        if not (dropped := self._control.dropped()):
            return
        wanted = {it.table for it in self._wanted(partition)}
        serving = {self._control.serving(kept.name) for kept in self.kept}
        to_go = dropped - wanted - serving
        stores = {self._rows_of(kept): kept for kept in self.kept} if to_go else {}
        for rows, kept in stores.items():
            if partition in self._here(kept):
                for table in sorted(to_go & (await rows.places(partition)).keys()):
                    await rows.drop(partition, table)

    def _wanted(self, partition: int) -> list[TableSpec]:
        """The newest build of each projection, and the one that answers if this code can carry it on."""
        wanted: dict[str, TableSpec] = {}
        for kept in self.kept:
            rows, projection = self._rows_of(kept), kept.projection
            if partition not in self._here(kept):
                continue
            tables = [self._control.wanted(kept.name, projection.version)]
            serving = self._control.serving(kept.name)
            if serving is not None and version_of(serving) == projection.version:
                tables.append(serving)
            for table in tables:
                paused = self._control.paused(kept.name) is not None
                wanted[table] = TableSpec(table, projection, rows, paused, self._control.skips(kept.name))
        return list(wanted.values())

    def table(self, partition: int, table: str) -> PartitionTable | None:
        """A table that this worker keeps up to date."""
        here = self.partitions.get(partition)
        return None if here is None else here.tables.get(table)

    async def complete(self, partition: int, table: str) -> int | None:
        """The newest commit that a table has whole, be it kept up to date or not; None where it is not here, or where
        what it has is from another log."""
        if partition not in self.partitions or not self.partitions[partition].knows_log:
            return None
        if (kept := self.table(partition, table)) is not None:
            return kept.place.complete
        for rows in {self._rows_of(it): None for it in self.kept if it.name == table.rpartition("-")[0]}:
            if (place := (await rows.places(partition)).get(table)) is not None:
                return place.complete
        return None

    async def wait_for(
        self, partition: int, nr: int, names: Collection[str], seconds: float, bound: MostAtOnce
    ) -> bool:
        """Whether the tables that answer for these projections have commit `nr` within `seconds`.

        A request that has to wait counts in `bound`. Raises `Busy`, `Unavailable`, and `NotNow` when the partition
        moves meanwhile.
        """
        if await self._have(partition, names, nr):
            return True
        if seconds <= 0:
            return False
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        with bound.one_more():
            for name in names:  # one by one: what a table has it keeps
                with self._waits.waiting(partition, name, nr) as reached:
                    if partition not in self.partitions:
                        raise NotNow(f"{stream_name(self.type, partition)} has just moved")
                    self._wake(partition, name)  # it may have come to be so meanwhile
                    await asyncio.wait([reached], timeout=until - loop.time())
                    if reached.done():
                        reached.result()
        return await self._have(partition, names, nr)

    async def _have(self, partition: int, names: Collection[str], nr: int) -> bool:
        tables = [self._control.serving(name) for name in names]
        found = [await self.complete(partition, table) for table in tables if table is not None]
        return len(found) == len(tables) and all(complete is not None and complete >= nr for complete in found)

    def why_not(self, partition: int, names: Collection[str]) -> str:
        """What keeps the tables that answer for these projections from going on; empty for nothing."""
        here = self.partitions.get(partition)
        for name in names:
            table = self._control.serving(name)
            if table is None or (kept := self.table(partition, table)) is None:
                continue
            if kept.paused:
                return f"{table} is paused"
            if here is not None and here.held(table):
                return f"{table} waits: /projections/{name} says why"
        return ""

    def _wake(self, partition: int, name: str) -> None:
        """Wake those for whom the table that answers is far enough. It goes on only where it is kept up to date.

        A place that was recovered is no position of the log before its processor has held it against that.
        """
        if (here := self.partitions.get(partition)) is None or not here.knows_log:
            return
        serving = self._control.serving(name)
        if serving is not None and (table := self.table(partition, serving)) is not None:
            self._waits.reached(partition, name, table.place.complete)

    async def _has_moved(self, partition: int) -> None:
        for name in self._waits.awaited(partition):
            self._wake(partition, name)

    def newest(self) -> Mapping[str, str]:
        """By the name of each projection the table that is to answer for it when it is complete."""
        newest: dict[str, Table] = {}
        for kept in self.kept:
            if kept.name not in newest or kept.projection.version > newest[kept.name].projection.version:
                newest[kept.name] = kept
        return {name: self._control.wanted(name, kept.projection.version) for name, kept in newest.items()}
