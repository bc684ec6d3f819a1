"""Events as projections see them, from records of an events topic or from the log itself: the same either way."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from projections.projection import PublishedEvent
from projections.publishing.publication import COMMIT_END, PREVIOUS, event_headers, events_in, in_turns
from projections.publishing.type_logs import TypeLogs
from schemas import sealing
from schemas.codec import Codec, Undecodable
from schemas.wire_format import from_wire
from streams.concurrency.fairness import chunks, yield_if_due
from streams.journal.event_decoding import decode_event
from streams.journal.event_view import pieces
from streams.journal.port import Journal, RecordedEvent, SliceHead, Unavailable
from streams.journal.position import BEGINNING, Place, Position, parse_place, stream_slice, stream_type
from streams.kafka.published_through import JournalBehind, journal_is_behind, published_place
from streams.notices import warn
from streams.observability.traces import HEADER

log = logging.getLogger(__name__)

EVENTS_AT_ONCE = 1_000
COMMITS_AT_ONCE = 200
LOGGED_AT_ONCE = 5_000
"""About so many events of all slices of a log are read together."""
FIRST_COMMITS = 5
"""What a commit of a log holds is not known before it is read."""

_COMMIT_END = COMMIT_END[0]


class EventRecord(Protocol):
    """A record of an events topic, as Kafka's client gives it."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Event(NamedTuple):
    """One stored event: its place in its stream, whether it ends its commit there, and what it stands for today.

    `follows` is the event before it in its stream, (0, 0) for the first, None where that is not known.
    `origin` is the first of `parts`, or says where it was published from when nothing came of it. `next_offset` is that
    of the record behind it, or -1 when it was not read from the topic. `source` is what it was read from. `trace` is
    the `traceparent` of who has sent it, or of where its transmission began.
    """

    at: Place
    ends: bool
    origin: PublishedEvent
    parts: Sequence[PublishedEvent]
    next_offset: int
    source: EventRecord
    follows: Place | None = None
    trace: bytes = b""

    @property
    def offset(self) -> int:
        """That of its record, where it was read from the topic."""
        return self.next_offset - 1

    @property
    def complete(self) -> int:
        """The newest commit of which the stream has all when this event has been applied."""
        return self.at[0] if self.ends else self.at[0] - 1


class _FromLog(NamedTuple):
    """An event of a log in the form of the record that the tailer makes of it."""

    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]
    offset: int = -2


_Published = tuple[Place, Place | None, tuple[str, int, str, str, int, int, str]]
"""What the headers of a record say: the place of its event, that of the one before, and what `PublishedEvent` has
behind its event and type."""


def _published(record: EventRecord, attributes: Mapping[str, bytes], stream: str) -> _Published | None:
    """None for a record that the tailer of this stream has not made."""
    at = published_place(attributes, stream)
    if at is None or record.value is None:
        return None
    try:
        follows = parse_place(attributes[PREVIOUS].decode()) if PREVIOUS in attributes else None
        if follows is not None and follows >= at:
            return None
        correlation_id = attributes.get("ce_correlationid", b"").decode()
        sequence, moment = int(attributes["ce_sequence"]), attributes["ce_time"].decode()
        return at, follows, (record.key.decode(), sequence, moment, stream, *at, correlation_id)
    except (KeyError, ValueError, AttributeError):
        return None


def place_of(record: EventRecord, stream: str) -> Place | None:
    """The place of the event that a record is of, None for a record that is none of this stream's."""
    published = _published(record, dict(record.headers), stream)
    return None if published is None else published[0]


Named = Sequence[tuple[str, Any]]
"""What a record stands for today: events, each with its name."""


def _event(record: EventRecord, attributes: Mapping[str, bytes], published: _Published, named: Named) -> Event:
    at, follows, envelope = published
    parts = [PublishedEvent(value, name, *envelope) for name, value in named]
    origin = (
        parts[0] if parts else PublishedEvent(None, attributes.get("ce_type", b"").decode(errors="replace"), *envelope)
    )
    return Event(
        at=at,
        ends=_COMMIT_END in attributes,
        origin=origin,
        parts=parts,
        next_offset=record.offset + 1,
        source=record,
        follows=follows,
        trace=attributes.get(HEADER) or attributes.get("ce_traceparent") or b"",
    )


class EventReader:
    """Reads the events of one aggregate type."""

    reaches_back = True
    """Whether a log has what the topic lacks. Where none does, tables begin with the first event that the topic has."""

    def __init__(self, codec: Codec, journal: Journal, logs: TypeLogs, source: str = "") -> None:
        self._codec = codec
        self._journal = journal
        self._logs = logs
        self._source = source.encode()
        self.passed_over: dict[str, int] = {}
        """By stream the records of its events partition that are no events of it."""

    async def read(self, records: Sequence[EventRecord], stream: str, after: Place = BEGINNING) -> list[Event]:
        """The events of a stream in records, in their order. What else stands there (of a mirror, of another producer,
        or unreadable) is passed over: what is missing for that shows, and comes from the log.

        One that is not newer than `after`, which all tables have, and all before it has no parts: nobody applies it,
        so nothing need wait until it can be read. Raises `Undecodable`, `NotReadableYet`, `Unavailable`.
        """
        events: list[Event] = []
        for some in chunks(records):
            await yield_if_due()
            for record in some:
                attributes = dict(record.headers)
                published = _published(record, attributes, stream)
                if published is None:
                    self._pass_over(record, stream)
                    continue
                named: Named = ()
                if published[0] > after:
                    after = published[0]
                    named = await self._named(record, attributes)
                events.append(_event(record, attributes, published, named))
        return events

    def begins_with(self, stream: str, first: EventRecord | None) -> None:
        """The oldest record that the topic has now is this one."""

    def _pass_over(self, record: EventRecord, stream: str) -> None:
        if stream not in self.passed_over:
            warn(
                log,
                "strangers-record",
                stream,
                "%s: the record at offset %d of its events is none that this system has published, and is passed over,"
                " as are others like it",
                stream,
                record.offset,
            )
        self.passed_over[stream] = self.passed_over.get(stream, 0) + 1

    async def _named(self, record: EventRecord, attributes: Mapping[str, bytes]) -> Named:
        data = from_wire(record.value, attributes)
        place = sealing.Place(record.key.decode(), int(attributes["ce_sequence"]))
        try:
            values: Sequence[Any] = self._codec.decode(data, place, closed=True)
        except Undecodable:  # its schema may be in the journal; and who must not read it says so each time
            values = await decode_event(self._codec, self._journal, data, place, closed=True)
        return [(type(value).__name__, value) for value in values]

    async def from_log(
        self, stream: str, after: Place, before: Place, offset: int = 0
    ) -> AsyncGenerator[Sequence[Event]]:
        """The events of a stream in its log, behind one place and before another, in batches.

        All of them: a read of the log that ends early is not its end. `offset` is for a log that is a topic: events
        before it need not be looked at. Raises what `read` raises, and `JournalBehind` where the log ends before that
        place: what is said to stand there will not come.
        """
        slice = stream_slice(stream)
        log_of_slice = self._logs.of(slice)
        last = before[0] if before[1] > 0 else before[0] - 1
        nr, most = max(after[0] - 1, 0), FIRST_COMMITS
        while nr < last:
            commits = await log_of_slice.commits(nr, min(most, last - nr))
            if not commits:
                if (head_nr := (await log_of_slice.head())[0]) < last:
                    said = before[0], max(before[1] - 1, 0)
                    raise JournalBehind(journal_is_behind(Position(stream, *said), head_nr))
                raise Unavailable(f"{stream}: commit {nr + 1} of {last} cannot be read yet")
            records: list[EventRecord] = []
            async for commit in in_turns(commits):
                its = events_in(commit, slice, self._logs.slices)
                found = self._as_published(stream, commit.nr, commit.recorded_at, its)
                records += [record for index, record in found if after < (commit.nr, index) < before]
            for start in range(0, len(records), EVENTS_AT_ONCE):
                yield await self.read(records[start : start + EVENTS_AT_ONCE], stream)
            nr = commits[-1].nr
            logged = sum(len(commit.events) for commit in commits)
            most = max(1, min(COMMITS_AT_ONCE, LOGGED_AT_ONCE * len(commits) // max(logged, 1)))

    def _as_published(
        self, stream: str, nr: int, recorded_at: datetime, events: Sequence[tuple[int, RecordedEvent]]
    ) -> list[tuple[int, EventRecord]]:
        """The records of events of a commit, each with its index."""
        headed = event_headers(stream, nr, recorded_at, events, source=self._source, codec=self._codec)
        return [(index, _FromLog(event.aggregate_id.encode(), event.data, headers)) for index, headers, event in headed]

    async def head(self, stream: str, since: float | None = None) -> tuple[int, SliceHead]:
        """The number of the newest commit of the log, and how far the stream is with it; (0, ..) for none. As they were
        at a time of the loop's clock or later, at the call for None. Raises `Unavailable`."""
        return await self._logs.of(stream_slice(stream), since).head()

    async def has_events(self, stream: str, since: float | None = None) -> bool:
        """Whether a stream has one, `since` as in `head`. Raises `Unavailable`."""
        return (await self.head(stream, since))[1].eventful_nr > 0

    async def of_aggregate(self, stream: str, aggregate_id: str, before: Place) -> AsyncGenerator[Sequence[Event]]:
        """The events of one aggregate, whose stream this is, before a place, in pieces of some megabytes.

        Raises what `from_log` raises.
        """
        newest = await self._logs.of(stream_slice(stream)).newest()
        indexed = newest.derived_nr if newest is not None else 0
        async with aclosing(pieces(self._journal, stream_type(stream), aggregate_id)) as found:
            async for rows in found:
                records: list[EventRecord] = []
                for row in rows:
                    if row.nr <= indexed and (row.nr, row.index) < before:
                        one = self._as_published(stream, row.nr, row.recorded_at, [(row.index, row.event)])
                        records += [record for _, record in one]
                if not records:
                    break
                yield await self.read(records, stream)
        # What may not stand by aggregate yet.
        async for events in self.from_log(stream, (indexed + 1, -1), before):
            if its := [event for event in events if event.origin.aggregate_id == aggregate_id]:
                yield its
