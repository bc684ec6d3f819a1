"""The events of somebody else's aggregate type: their topic is all that there is, so it is the log as well."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from projections.applying.event_reader import Event, EventReader, EventRecord, Named, place_of
from projections.applying.event_source import LOOK_SECONDS
from projections.applying.topic_reader import ReadingFailed, TopicReader
from schemas.codec import Undecodable
from schemas.wire_format import from_wire
from streams.foreign_type import ForeignType
from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import Unavailable
from streams.journal.position import BEGINNING, Place, stream_slice

log = logging.getLogger(__name__)

RECORDS_AT_ONCE = 1_000
"""Records of the topic that are looked at together."""


class TopicLog(EventReader):
    """Reads the events of a foreign type. Where the owner's retention has removed the first of them, tables begin with
    the first that is left, and `limits` says so by stream."""

    reaches_back = False

    def __init__(self, type: ForeignType, topics: TopicReader) -> None:
        self.limits: dict[str, str] = {}
        self.passed_over = {}
        self._type = type
        self._topics = topics

    def begins_with(self, stream: str, first: EventRecord | None) -> None:
        at = place_of(first, stream) if first is not None else None
        headers = {} if first is None else dict(first.headers)
        if at is None or first is None or (first.offset == 0 and headers.get("ce_sequence") == b"1"):
            self.limits.pop(stream, None)
            return
        limit = (
            f"{stream}: {self._type.topic.name} begins with event {at[0]}:{at[1]}: a table built now has nothing"
            " of what was before"
        )
        if self.limits.get(stream) != limit:
            log.warning("%s", limit)
            self.limits[stream] = limit

    async def _named(self, record: EventRecord, attributes: Mapping[str, bytes]) -> Named:
        name = attributes.get("ce_type", b"").decode(errors="replace")
        if not self._type.reads(name):
            return ()
        try:
            return self._type.decode(name, from_wire(record.value, attributes))
        except Undecodable as error:
            raise NotReadableYet(f"{name}: {error}: copy the schemas of its owner again") from None

    async def from_log(
        self, stream: str, after: Place, before: Place, offset: int = 0
    ) -> AsyncGenerator[Sequence[Event]]:
        async with aclosing(self._records(stream, before, offset)) as found:
            async for records in found:
                if events := [event for event in await self.read(records, stream, after) if after < event.at < before]:
                    yield events
                    after = events[-1].at

    async def has_events(self, stream: str, since: float | None = None) -> bool:
        """Whether its topic begins with one: a table of those that are not there any more cannot be built."""
        reading = await self._topics.open(self._type.topic.name, stream_slice(stream))
        try:
            first = await reading.first()
            record = await reading.at(first) if first < await reading.end() else None
            return record is not None and place_of(record, stream) is not None
        except ReadingFailed as error:
            raise Unavailable(str(error)) from error
        finally:
            await reading.close()

    async def of_aggregate(self, stream: str, aggregate_id: str, before: Place) -> AsyncGenerator[Sequence[Event]]:
        key = aggregate_id.encode()
        async with aclosing(self._records(stream, before, 0)) as found:
            async for records in found:
                events = await self.read([record for record in records if record.key == key], stream)
                yield [event for event in events if event.at < before]

    async def _records(self, stream: str, before: Place, offset: int) -> AsyncGenerator[Sequence[EventRecord]]:
        """The records of a partition from an offset on, to the one right before a place or to the end. Raises
        `Unavailable`."""
        last = before[0], before[1] - 1
        reading = await self._topics.open(self._type.topic.name, stream_slice(stream))
        try:
            end = await reading.end()
            offset = max(offset, await reading.first())
            await reading.seek(offset)
            while offset < end:
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        records = await reading.read(RECORDS_AT_ONCE)
                except TimeoutError:
                    if await reading.passed() >= end:  # where transactions have left their marks
                        return
                    raise Unavailable(f"{stream}: offset {offset} of {end} cannot be read yet") from None
                yield records
                offset = records[-1].offset + 1
                if (place_of(records[-1], stream) or BEGINNING) >= last:
                    return
        finally:
            await reading.close()
