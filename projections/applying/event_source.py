"""All events of one stream behind a checkpoint: in order, none missing, for as long as somebody reads them.

The events topic brings them. Whatever it lacks is read from the journal: its beginning (removed by retention), its
middle (lost), or its end (made anew, or not published yet). So no reader has to know which of the two an event is from.

An event on the topic names the one before it. Where that has not been read yet, the journal has what is in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from projections.applying.event_reader import Event, EventReader, place_of
from projections.applying.fold import MissingEvents
from projections.applying.progress import Progress
from projections.applying.topic_reader import TopicReader, TopicReading
from projections.stores.rows import Checkpoint
from streams.journal.port import SliceHead, Unavailable
from streams.journal.position import BEGINNING, Place, Position
from streams.kafka.published_through import JournalBehind, journal_is_behind
from streams.kafka.records import UnreadableRecord

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""So long the topic may take to bring records that are said to be there, and the journal to say where it ends."""
IDLE_SECONDS = 10.0
"""When the topic has brought nothing for so long, or half as long again, the journal is asked whether it has more. The
answer to another slice of the log may be half as old."""


class Batch(NamedTuple):
    """Events that follow those of the batch before, perhaps none.

    `offset` is that of the record behind them on the topic; None while the journal is read.
    """

    events: Sequence[Event]
    offset: int | None


@dataclass(frozen=True, kw_only=True)
class PublishedStream:
    """A stream, and the partition of an events topic that its events are published to.

    What was known of the journal before this worker had it, `since` a time of the loop's clock, does not count.
    """

    name: str
    topic: str
    partition: int
    since: float
    topics: TopicReader
    reader: EventReader


class EventSource:
    """One reading of a stream: `begin`, then `batches`. After an error another begins, at the checkpoint of then."""

    def __init__(self, stream: PublishedStream, reading: TopicReading, progress: Progress) -> None:
        self.progress = progress
        self.end = 0
        """The offset of the next record to be published, when somebody has looked."""
        self._stream = stream.name
        self._reader = stream.reader
        self._reading = reading
        self._at = (0, 0)
        """Every event up to here has been handed out."""
        self._complete = 0
        """Every event of the commits up to this one has been handed out."""
        self._known_since = stream.since
        """An answer of the journal may be as old as this at the beginning."""
        self._offset = 0
        self._behind_last = -1
        """The offset behind the event that was handed out last; -1 where that came from the journal."""
        self._joined = False
        """Whether it is known that nothing is missing between the events handed out and the topic from here on."""

    # -- where to begin ------------------------------------------------------------------------------------

    async def begin(self, after: Checkpoint, newest: Place) -> None:
        """Go to a checkpoint. `newest` is the newest event that any table has.

        Raises `JournalBehind` where the journal ends before that event, or before the last one on the topic: it is not
        the journal that they are from. While nobody can say, what was published counts.
        """
        self._known_since = max(self._known_since, _now() - IDLE_SECONDS / 2)
        first, self.end = await self._reading.first(), await self._reading.end()
        await self._require_journal(max(newest, await self._last_on_topic(first)))
        if not self._reader.reaches_back:
            self._reader.begins_with(self._stream, await self._reading.at(first) if first < self.end else None)
        before = await self._event_before(after.offset, first)
        self._at, self._complete = max(after.at, self._at), after.complete
        self._joined = before == after.at
        # An earlier event is there when tables came to their checkpoint by the journal: behind it they go on as well.
        self._offset = after.offset if before is not None and before <= after.at else first
        self._behind_last = self._offset if self._joined else -1
        if after.offset and self._offset != after.offset and first < self.end:
            log.warning(
                "%s: the topic does not have event %d:%d at offset %d: reading all of it",
                self._stream, after.nr, after.index, after.offset - 1,
            )  # fmt: skip
        await self._reading.seek(self._offset)
        if self._joined:
            self.progress.topic(self._offset, self.end)
        else:
            self.progress.reads_topic = False

    async def _require_journal(self, newest: Place) -> None:
        head = await self._head(self._known_since)
        if head is not None and head[0] < newest[0]:
            head = await self._head()
        if head is not None and head[0] < newest[0]:
            raise JournalBehind(journal_is_behind(Position(self._stream, *newest), head[0]))

    async def _head(self, since: float | None = None) -> tuple[int, SliceHead] | None:
        """As `EventReader.head`, None when the journal does not answer, or there is none."""
        if not self._reader.reaches_back:
            return None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._reader.head(self._stream, since)
        except (Unavailable, TimeoutError):
            return None

    async def _last_on_topic(self, first: int) -> Place:
        """The event that ends the topic; (0, 0) where none does, as behind a transaction."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                last = await self._reading.at(self.end - 1) if self.end > first else None
        except TimeoutError:
            return 0, 0
        return (place_of(last, self._stream) if last is not None else None) or (0, 0)

    async def _event_before(self, offset: int, first: int) -> Place | None:
        """The event right before an offset, if the topic has one there: it may have been made anew."""
        if not first < offset <= self.end:
            return None
        record = await self._reading.at(offset - 1)
        return place_of(record, self._stream) if record is not None and record.offset == offset - 1 else None

    # -- going on ------------------------------------------------------------------------------------------

    async def batches(self, most: int, journal_to: Place | None = None) -> AsyncGenerator[Batch]:
        """All batches, for ever, each of `most` records of the topic or fewer. One without events says how far the
        topic was read. Up to the event `journal_to` the journal is read, whatever the topic says.

        Raises `ReadingFailed`, `Unavailable`, `JournalBehind`, `MissingEvents`, and what `EventReader.read` raises.
        """
        if journal_to is not None and self._reader.reaches_back:
            async for batch in self._from_journal(journal_to):
                yield batch
        if not self._joined and self._offset >= self.end:  # there is no event that would name what is missing
            async for batch in self._rest_of_journal(self._known_since):
                yield batch
        if self._joined:
            yield self._topic_read_to(self._offset)
        while True:
            async for batch in self._next(most):
                yield batch

    async def _next(self, most: int) -> AsyncGenerator[Batch]:
        try:
            async with asyncio.timeout(LOOK_SECONDS if self._offset < self.end else _idle_seconds()):
                records = await self._reading.read(most)
        except TimeoutError:
            # The topic has no more, or has been made anew, or lost its end; or its broker is slow.
            end = await self._reading.end()
            self._show_topic()
            # Where nothing is strange, slices of one log share their looks at its head.
            since = _now() - IDLE_SECONDS / 2 if end == self._offset else None
            async for batch in self._rest_of_journal(since):
                yield batch
            self.end = self.progress.end = end
            yield self._topic_read_to(end)
            return
        run: list[Event] = []
        for event in await self._reader.read(records, self._stream, self._at):
            if event.at <= self._at:
                continue
            if not self._follows(event):
                if run:
                    yield Batch(run, run[-1].next_offset)
                    run = []
                async for batch in self._gap_before(event):
                    yield batch
            run.append(event)
            self._at, self._behind_last, self._joined = event.at, event.next_offset, True
            self._complete = max(self._complete, event.complete)
            self._show_topic()
        offset = records[-1].offset + 1
        unreadable = any(isinstance(record, UnreadableRecord) for record in records)
        if unreadable or (not self._joined and offset >= self.end):
            # What cannot be read may have been an event; and perhaps none follows that names what is missing.
            yield Batch(run, None)
            run = []
            async for batch in self._rest_of_journal():
                yield batch
        yield self._topic_read_to(offset, run)

    def _topic_read_to(self, offset: int, events: Sequence[Event] = ()) -> Batch:
        self._show_topic()
        self._offset = offset
        return Batch(events, offset)

    def _show_topic(self) -> None:
        if not self.progress.reads_topic:
            self.progress.topic(self._offset, self.end)

    def _follows(self, event: Event) -> bool:
        """Whether nothing is missing between the events handed out and this one."""
        if event.follows is not None:
            return event.follows <= self._at
        # The first that a tail has published on an empty topic, which may be another one by now, with anything there.
        return not self._reader.reaches_back and event.offset == self._behind_last

    async def _gap_before(self, event: Event) -> AsyncGenerator[Batch]:
        """What the journal has between the events handed out and this one."""
        if not self._reader.reaches_back:
            if self._at > BEGINNING:
                log.warning("%s: the topic lacks what is before event %d:%d: so do tables", self._stream, *event.at)
            return
        level = logging.WARNING if self._joined else logging.INFO  # that it does not reach back is no news
        log.log(level, "%s: the topic lacks what is before event %d:%d: reading the journal", self._stream, *event.at)
        before = event.at if event.follows is None else min(event.at, (event.follows[0], event.follows[1] + 1))
        async for batch in self._from_journal(before):
            yield batch
        if event.follows is not None and event.follows > self._at:
            text = "{}: the journal lacks what is before event {}:{}".format(self._stream, *event.at)
            raise MissingEvents(text, event.at)

    async def _rest_of_journal(self, since: float | None = None) -> AsyncGenerator[Batch]:
        """What the journal has behind the events handed out, `since` a time or now. Nothing is read where its head says
        that the slice has no more, however many commits of other slices there are. When it does not answer, that is an
        error only where the topic has not brought yet what was published."""
        head = await self._head(since)
        if not self._reader.reaches_back:
            self._joined = True
        elif head is not None:
            nr, of_slice = head
            if of_slice.eventful_nr > self._complete:
                async for batch in self._from_journal((of_slice.eventful_nr + 1, 0)):
                    yield batch
            self._at, self._joined = max(self._at, (nr + 1, -1)), True
            self._complete = max(self._complete, nr)
        elif self._offset < self.end or not self._joined:
            raise Unavailable(f"{self._stream}: the journal does not say where it ends")

    async def _from_journal(self, before: Place) -> AsyncGenerator[Batch]:
        if not self.progress.reads_topic:
            last = before[0] if before[1] > 0 else before[0] - 1
            self.progress.log(self._complete, last, self._offset, self.end)
        async for events in self._reader.from_log(self._stream, self._at, before):
            yield Batch(events, None)
            self._at, self._behind_last = events[-1].at, -1
            self._complete = max(self._complete, events[-1].complete)
            self.progress.in_log(events[-1].at[0], len(events))

    async def distance(self, offset: int) -> int:
        """Records between an offset and the end of the topic; asks for the end where the known one is reached."""
        if self.end <= offset:
            self.end = self.progress.end = await self._reading.end()
        return self.end - offset


def _idle_seconds() -> float:
    """Until the next look: many partitions that are idle look at the same moments, and so share what they ask."""
    step = IDLE_SECONDS / 2
    return IDLE_SECONDS + step - _now() % step


def _now() -> float:
    return asyncio.get_running_loop().time()
