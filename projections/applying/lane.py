"""A lane: the events of one partition, a batch at a time, on their way into tables that stand at about the same place.

Where to go on is what the tables themselves say. Each leaves out what it has, so a lane begins at the one that is
furthest behind. What the topic does not have, since it was removed there, comes from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from projections.applying.events import Event, EventReader, EventRecord, place_of
from projections.applying.feed import TopicReading
from projections.applying.fold import FoldResult, MissingEvents, TableFold
from projections.applying.progress import Progress
from projections.stores.rows import Rows
from streams.journal.port import Unavailable
from streams.journal.position import BEGINNING, Place, Position
from streams.kafka.published_through import JournalBehind, behind
from streams.kafka.records import UnreadableRecord

log = logging.getLogger(__name__)

BATCH = 500
"""Records that are applied together: few enough that queries need not wait long for their turn."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
LOOK_SECONDS = 2.0
"""So long a lane waits to hear where the topic ends, and the log; and for records that are said to be there."""
IDLE_SECONDS = 10.0
"""When nothing has come for so long, a lane looks whether its place on the topic is still there."""


class DeadLetterSink(Protocol):
    """Takes the events that wait behind a projection that raised."""

    async def keep(self, partition: int, table: str, waiting: Sequence[tuple[Event, str, str]]) -> None: ...


class EventProcessor:
    """Applies events to `tables`. `moved()` is called when they have; `aside(table)` when the store of one failed while
    those of others did not: it is not among `tables` any more."""

    def __init__(
        self,
        stream: str,
        partition: int,
        reader: EventReader,
        tables: Sequence[TableFold],
        dead_letters: DeadLetterSink,
        moved: Callable[[], Awaitable[None]],
        aside: Callable[[TableFold], None],
        batch: int = BATCH,
    ) -> None:
        self.stream = stream
        self.tables = list(tables)
        self.changing = asyncio.Lock()
        """Held while a batch is applied: who holds it may change `tables`."""
        self.at = max((table.place.at for table in tables), default=BEGINNING)
        """The newest event that was applied to one of them."""
        self._whole = max(min((table.place.at for table in tables), default=(0, 0)), (0, 0))
        """Up to here no event is missing in any table."""
        self.progress = Progress()
        self.held = ""
        """Why nothing is applied at the moment."""
        self.knows_log: bool | None = None
        """Whether the log has what the tables and the topic have; None until somebody has looked."""
        self._last: Place | None = None
        self._behind_last = 0
        """The offset behind the newest event that was read; what is none may stand from there on."""
        self._goal = 0
        self._begun = self._unsure = False
        self._partition = partition
        self._reader = reader
        self._dead_letters = dead_letters
        self._moved = moved
        self._aside = aside
        self._batch = batch

    @property
    def offset(self) -> int:
        """Of the next record to be read."""
        return self.progress.offset

    # -- where to begin ------------------------------------------------------------------------------------

    async def begin(self, reading: TopicReading) -> None:
        """Bring `reading` to where the tables are, after applying from the log what the topic has not any more."""
        self._goal = await reading.end()
        await self._check_log(reading)
        place = min((table.place for table in self.tables), key=lambda place: place.at)
        before_it = await self._before(reading, place.offset)
        if before_it is not None and before_it <= place.at:
            if before_it < place.at:  # it came there by the log, so nothing says that its offset is of this topic
                await self.apply_from_log(None)
            await self._seek(reading, place.offset)
            return
        first = await reading.first()
        oldest = await reading.at(first)
        if place.offset and oldest is not None:
            log.warning(
                "%s: the topic does not have event %d:%d at offset %d: reading all of it",
                self.stream, place.nr, place.index, place.offset - 1,
            )  # fmt: skip
        before = self._at(oldest) if oldest is not None else None
        if before is None or place.at < before:
            last = before[0] if before is not None else await self._reader.last_commit(self.stream)
            self.progress.log(place.complete, last, first, self._goal if oldest is not None else first)
            await self.apply_from_log(before, self.progress)
        await self._seek(reading, first)

    async def _check_log(self, reading: TopicReading) -> None:
        """Raise `JournalBehind` where the log ends before what the tables have, or the topic: it is not the one that
        they are from. While nobody can say, what was published goes on into the tables."""
        newest = max((table.place.at for table in self.tables), default=BEGINNING)
        with suppress(TimeoutError):  # where a transaction ends the topic, no record stands there
            async with asyncio.timeout(LOOK_SECONDS):
                if self._goal > await reading.first() and (last := await reading.at(self._goal - 1)) is not None:
                    newest = max(newest, self._at(last) or newest)
        head = newest[0]
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                head = await self._reader.last_commit(self.stream)
        self.knows_log = head >= newest[0]
        if not self.knows_log:
            raise JournalBehind(behind(Position(self.stream, *newest), head))
        await self._moved()

    async def _seek(self, reading: TopicReading, offset: int) -> None:
        await reading.seek(offset)
        self.progress.topic(offset, await reading.end())
        self._unsure, self._last, self._behind_last = False, None, offset
        self._stand(offset)

    def _stand(self, offset: int) -> None:
        self.progress.offset = offset
        self._begun = self._begun or offset >= self._goal

    def join(self, table: TableFold) -> None:
        """Have a table go with the others; the caller holds `changing`. It has all that was applied to them."""
        self.tables.append(table)
        self.at = max(self.at, table.place.at)

    def has_all(self, table: TableFold) -> bool:
        """Whether a table of this lane has all that was on the topic when it began, and all that the others have."""
        return self._begun and table.place.at >= self.at

    async def _before(self, reading: TopicReading, offset: int) -> Place | None:
        """The event that stands right before an offset, if one does: the topic may be another one by now."""
        if offset == 0 or not await reading.first() < offset <= await reading.end():
            return None
        record = await reading.at(offset - 1)
        return self._at(record) if record is not None and record.offset == offset - 1 else None

    def _at(self, record: EventRecord) -> Place | None:
        return place_of(record, self.stream)

    async def apply_from_log(self, before: Place | None, progress: Progress | None = None) -> None:
        """Apply what the log has between the tables and an event, or to its end."""
        after = min(table.place.at for table in self.tables)
        async for events in self._reader.from_log(self.stream, after, before):
            await self._apply(events)
            if progress is not None:
                progress.in_log(events[-1].at[0], len(events))
        if before is not None:
            self._whole = max(self._whole, (before[0], before[1] - 1))
            self._unsure = False

    # -- going on ------------------------------------------------------------------------------------------

    async def run(self, reading: TopicReading) -> None:
        """Apply for ever what `reading` brings, each batch however long it takes."""
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    records = await reading.read(self._batch)
            except TimeoutError:
                await self.patiently(lambda: self._look(reading))
            else:
                await self._take(records)

    async def _take(self, records: Sequence[EventRecord]) -> None:
        await self.patiently(lambda: self._step(records))

    async def _look(self, reading: TopicReading) -> None:
        """Begin again where the topic is another one by now, or has been emptied: nobody says what was on it."""
        before_it = await self._before(reading, self._behind_last)
        known = self._last is not None and before_it == self._last
        if self._last is None and before_it is not None:  # nothing came since it began: then it has what stands there
            known = before_it <= min((table.place.at for table in self.tables), default=before_it)
        if known:
            await reading.seek(self.offset)
            self._goal = self.offset
            self._stand(self.offset)
        else:
            async with self.changing:
                await self.begin(reading)

    async def try_step(self, reading: TopicReading) -> bool:
        """Apply one batch, if it can be done now. Where it cannot, `begin` is next."""

        async def step() -> None:
            try:
                async with asyncio.timeout(LOOK_SECONDS):  # other tables wait for their turn to catch up
                    records = await reading.read(self._batch)
            except TimeoutError:  # marks of transactions alone are left, or the broker is slow: the log has it all
                end = await reading.end()
                async with self.changing:
                    await self.apply_from_log(None)
                self._stand(end)
            else:
                await self._step(records)

        return await self.attempt(step)

    async def _step(self, records: Sequence[EventRecord]) -> None:
        events = await self._reader.read(
            records, self.stream, min((table.place.at for table in self.tables), default=BEGINNING)
        )
        async with self.changing:
            # Some are removed, or the topic is another one; and the first may follow anything.
            self._unsure |= records[0].offset != self.offset or self.offset == 0
            if events:
                await self.apply(events)
                self._last, self._behind_last = events[-1].at, events[-1].next_offset
            if any(isinstance(record, UnreadableRecord) for record in records):
                await self.apply_from_log(None)  # it may have been an event, and nothing may follow that says so
            self._stand(records[-1].offset + 1)

    async def patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it again and again until it is done; says why it is not."""
        pause = FIRST_PAUSE
        while not await self.attempt(work):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def attempt(self, work: Callable[[], Awaitable[None]], settles: bool = True) -> bool:
        """Do it; says why it is not done, and that it is done again, if that `settles` it."""
        try:
            await work()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if reason != self.held:
                log.error("%s events wait, nothing is lost: %s", self.stream, reason)
            self.held = reason
            return False
        if self.held and settles:
            log.warning("%s: events are applied again", self.stream)
            self.held = ""
        return True

    async def apply(self, events: Sequence[Event]) -> None:
        """Apply a batch to all tables, with what is missing before it. The caller holds `changing`."""
        said = None
        while (missing := self._missing(events)) is not None:
            if missing == said:
                raise MissingEvents(
                    "{}: the log lacks what is before event {}:{}".format(self.stream, *missing), missing
                )
            said = missing
            log.warning("%s: the topic lacks what is before event %d:%d: reading the log", self.stream, *missing)
            await self.apply_from_log(missing)
        try:
            await self._apply(events)
        except MissingEvents as error:
            log.warning("%s: the topic lacks events: reading the log: %s", self.stream, error)
            await self.apply_from_log(error.at)
            await self._apply(events)

    def _missing(self, events: Sequence[Event]) -> Place | None:
        """The first event before which some are missing, as the events themselves say."""
        newest = self._whole
        for event in events:
            if event.at > newest:
                if self._unsure if event.follows is None else event.follows > newest:
                    return event.at
                newest = event.at
        return None

    async def _apply(self, events: Sequence[Event]) -> None:
        stores: defaultdict[Rows, list[tuple[TableFold, FoldResult]]] = defaultdict(list)
        failed: dict[str, Exception] = {}
        for table in self.tables:
            try:
                folded = await table.fold(events)
            except MissingEvents:
                raise
            except Exception as error:
                failed[table.table] = error
            else:
                if folded is not None:
                    stores[table.rows].append((table, folded))
        for errors in await asyncio.gather(*(self._save(rows, its) for rows, its in stores.items())):
            failed.update(errors)
        if failed and len(failed) == len(self.tables):
            raise next(iter(failed.values()))
        for table in [table for table in self.tables if table.table in failed]:
            log.error("%s: %s falls behind: %s", self.stream, table.table, failed[table.table])
            self.tables.remove(table)
            self._aside(table)
        newest = max(event.at for event in events)
        self.at, self._whole = max(self.at, newest), max(self._whole, newest)
        await self._moved()

    async def _save(self, rows: Rows, its: Sequence[tuple[TableFold, FoldResult]]) -> dict[str, Exception]:
        """What went wrong, by table."""
        try:
            for table, folded in its:
                if folded.waiting:
                    await self._dead_letters.keep(self._partition, table.table, folded.waiting)
            await rows.save(self._partition, {table.table: folded.changes for table, folded in its})
        except Exception as error:
            return {table.table: error for table, _ in its}
        for table, folded in its:
            table.kept(folded)
        return {}
