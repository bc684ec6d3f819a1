"""The events of one partition on their way into tables that stand at about the same place.

Each table leaves out what it has, so all of them begin at the checkpoint of the one that is furthest behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Protocol, TypeVar

from projections.applying.event_reader import Event
from projections.applying.event_source import Batch, EventSource, PublishedStream
from projections.applying.fold import FoldResult, MissingEvents, TableFold
from projections.applying.progress import Progress
from projections.stores.rows import Changes, Checkpoint, Rows
from streams.journal.position import BEGINNING, Place
from streams.kafka.published_through import JournalBehind

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two attempts; each pause is twice the one before."""


class DeadLetterSink(Protocol):
    """Takes the events that wait behind a projection that raised."""

    async def keep(self, partition: int, table: str, waiting: Sequence[tuple[Event, str, str]]) -> None: ...


class EventProcessor:
    """Applies the events of one stream to `tables`.

    Its owner gives each of the `batches` to `apply`. Whatever is raised meanwhile, `until_done` begins again at the
    checkpoint of the tables.
    """

    def __init__(self, stream: PublishedStream, dead_letters: DeadLetterSink, tables: Sequence[TableFold] = ()) -> None:
        self.tables = list(tables)
        self.changing = asyncio.Lock()
        """Held while a batch is applied: who holds it may change `tables`."""
        self.at = max((table.place.at for table in tables), default=BEGINNING)
        """The newest event that was applied to one of them."""
        self.offset = 0
        """Of the next record of the topic to be read."""
        self.progress = Progress()
        self.held = ""
        """Why nothing is applied at the moment."""
        self.knows_log: bool | None = None
        """Whether the journal has what the tables and the topic have; None until somebody has looked."""
        self.task: asyncio.Task[None] | None = None
        """Runs it."""
        self._stream = stream
        self._dead_letters = dead_letters
        self._source: EventSource | None = None
        self._goal = 0
        """Where the topic ended when it was last begun."""
        self._caught_up = False
        self._journal_to: Place | None = None
        """The event before which the topic lacks some, as a sequence that jumps has shown."""

    # -- the tables ----------------------------------------------------------------------------------------

    def join(self, table: TableFold) -> None:
        """Have a table go with the others; the caller holds `changing`. It has all that was applied to them."""
        self.tables.append(table)
        self.at = max(self.at, table.place.at)

    @property
    def has_caught_up(self) -> bool:
        """Whether it has all that was on the topic when this worker began."""
        return self._caught_up

    def has_all(self, table: TableFold) -> bool:
        """Whether one of `tables` has all that was on the topic at the beginning, and all that the others have."""
        return self._caught_up and table.place.at >= self.at

    # -- reading -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def batches(self, most: int) -> AsyncIterator[AsyncIterator[Batch]]:
        """All batches behind what the tables have, of at most so many records; see `EventSource`.

        Raises `JournalBehind`, `ReadingFailed`.
        """
        reading = await self._stream.topics.open(self._stream.topic, self._stream.partition)
        try:
            source = self._source = EventSource(self._stream, reading, self.progress)
            places = [table.place for table in self.tables] or [Checkpoint()]
            try:
                await source.begin(min(places, key=lambda place: place.at), max(place.at for place in places))
            except JournalBehind:
                self.knows_log = False
                raise
            self.knows_log, self._goal = True, source.end
            async with aclosing(source.batches(most, self._journal_to)) as batches:
                yield batches
        finally:
            await reading.close()

    async def distance(self) -> int:
        """Records of the topic that are still to be read."""
        assert self._source is not None, "not begun"
        return await self._source.distance(self.offset)

    async def until_done(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, which is tried again until it does not raise; `held` says why, and the log once."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await work()
            except Exception as error:
                if not self.held:  # something was applied since the last attempt
                    pause = FIRST_PAUSE
                reason = f"{type(error).__name__}: {error}"
                if reason != self.held:
                    log.error("%s events wait, nothing is lost: %s", self._stream.name, reason)
                self.held = reason
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    # -- applying ------------------------------------------------------------------------------------------

    async def apply(self, batch: Batch) -> Sequence[TableFold]:
        """Apply a batch; the caller holds `changing`. Returns the tables whose store failed while those of others did
        not: they are not among `tables` any more. Raises what is raised for all tables.
        """
        if batch.events:
            failed = await self._apply(batch.events)
        else:  # nothing comes: tables that begin anew are to pass no events again
            failed = []
            await save_places(self.tables)
        at_goal = batch.offset is not None and batch.offset >= self._end_at_first()
        if batch.offset is not None:
            self.offset = self.progress.offset = batch.offset
        self._caught_up = self._caught_up or at_goal
        if self.held and (batch.events or at_goal):
            log.info("%s: events are applied again", self._stream.name)
            self.held = ""
        return failed

    def _end_at_first(self) -> int:
        """Where the topic ended when it was begun, or ends now if it has lost that: the journal had the rest."""
        return min(self._goal, self._source.end) if self._source is not None else self._goal

    async def _apply(self, events: Sequence[Event]) -> Sequence[TableFold]:
        stores: defaultdict[Rows, list[tuple[TableFold, FoldResult]]] = defaultdict(list)
        errors: dict[str, Exception] = {}
        for table in self.tables:
            try:
                folded = await table.fold(events)
            except MissingEvents as error:
                log.warning("%s: the topic lacks events: reading the journal: %s", self._stream.name, error)
                self._journal_to = error.at
                raise
            except Exception as error:
                errors[table.table] = error
            else:
                if folded is not None:
                    stores[table.rows].append((table, folded))
        for failed in await asyncio.gather(*(self._save(rows, results) for rows, results in stores.items())):
            errors.update(failed)
        if errors and len(errors) == len(self.tables):
            raise next(iter(errors.values()))
        behind = [table for table in self.tables if table.table in errors]
        for table in behind:
            log.error("%s: %s falls behind: %s", self._stream.name, table.table, errors[table.table])
        self.tables = [table for table in self.tables if table.table not in errors]
        self.at = max(self.at, events[-1].at)
        self._journal_to = None
        return behind

    async def _save(self, rows: Rows, results: Sequence[tuple[TableFold, FoldResult]]) -> dict[str, Exception]:
        """Keep what became of the tables of one store. Returns what went wrong, by table."""
        partition = self._stream.partition
        try:
            for table, folded in results:
                if folded.waiting:
                    await self._dead_letters.keep(partition, table.table, folded.waiting)
            stored = {table.table: folded.changes for table, folded in results if table.must_be_stored(folded)}
            if stored:
                await rows.save(partition, stored)
        except Exception as error:
            return {table.table: error for table, _ in results}
        for table, folded in results:
            table.kept(folded, table.table in stored)
        return {}


async def save_places(tables: Iterable[TableFold]) -> None:
    """Have the stores know how far these tables are, where that has waited. It goes on waiting where a store fails."""
    stores: defaultdict[tuple[Rows, int], list[TableFold]] = defaultdict(list)
    for table in tables:
        if table.unsaved:
            stores[table.rows, table.partition].append(table)
    for (rows, partition), its in stores.items():
        moved = {table.table: Changes(table.place) for table in its}
        try:
            await rows.save(partition, moved)
        except Exception as error:
            log.debug("checkpoints of %s wait: %r", ", ".join(moved), error)
        else:
            for table in its:
                table.kept(FoldResult(moved[table.table]))
