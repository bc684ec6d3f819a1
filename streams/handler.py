"""From commands to events: load, decide, evolve. Knows neither Kafka nor Faust nor which journal it is."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import msgspec

from aggregates.decider import Decider, Rejected
from schemas.codec import Codec, Undecodable, UnknownSchema
from schemas.registry import SchemaError
from streams.cache import Aggregate, Cache
from streams.journal import Journal, RecordedEvent
from streams.messages import AVRO, JSON, AggregateRef, Envelope, Error, Failure, Reply, check_deadline

log = logging.getLogger(__name__)

LOADS_AT_ONCE = 64
MAX_COMMAND_BYTES = 256 * 1024
"""Of the data of a command, and of the events that one command may cause."""


class Held(Exception):
    """This worker cannot read what another has written, so it must not go on: a newer version wrote it."""


@dataclasses.dataclass(slots=True)
class Verdict:
    """What became of one command: its reply, the rows to record, and for a failure the reason to keep."""

    envelope: Envelope
    reply: Reply
    rows: list[RecordedEvent] = dataclasses.field(default_factory=list)


class Handler:
    """Decides the commands of one stream. State lives in `cache`; a group in work has its aggregates out.

    After `decide` the group is to be committed, then `settle` called; or else the handler dropped, since
    its aggregates have run ahead of the journal.
    """

    def __init__(
        self,
        decider: Decider[Any, Any, Any],
        events: Codec,
        commands: Codec,
        journal: Journal,
        stream: str,
        cache: Cache,
        dedupe_window: int,
    ) -> None:
        self.decider = decider
        self.stream = stream
        self.cache = cache
        self._events = events
        self._commands = commands
        self._journal = journal
        self._window = dedupe_window
        self._json: dict[str, msgspec.json.Decoder[Any]] = {
            name: msgspec.json.Decoder(class_) for name, class_ in decider.commands.items()
        }
        self._loads = asyncio.Semaphore(LOADS_AT_ONCE)
        self.touched: dict[str, Aggregate] = {}

    async def load(self, ids: Iterable[str]) -> None:
        """Bring the aggregates of a group into work, the cold ones concurrently. Raises `Unavailable`, `Held`."""
        cold = []
        # In the order of their commands, each once: a set has another order in every process.
        for aggregate_id in dict.fromkeys(ids):
            if aggregate_id in self.touched:
                continue
            aggregate = self.cache.take(aggregate_id)
            if aggregate is None:
                cold.append(aggregate_id)
            else:
                self.touched[aggregate_id] = aggregate
        loaded = await asyncio.gather(*map(self._load, cold), return_exceptions=True)
        for aggregate_id, result in zip(cold, loaded, strict=True):
            if isinstance(result, Aggregate):
                self.touched[aggregate_id] = result
        for result in loaded:
            if isinstance(result, BaseException):
                raise result

    async def _load(self, aggregate_id: str) -> Aggregate:
        async with self._loads:
            return await load_aggregate(self._journal, self.decider, self._events, aggregate_id, self._window)

    def decide(self, envelope: Envelope, nr: int, eventful_nr: int, now: datetime) -> Verdict:
        """Decide one command for commit `nr`; `eventful_nr` is the newest commit with an event, this included."""
        aggregate = self.touched[envelope.aggregate_id]
        outcome = aggregate.outcomes.get(envelope.id)
        if outcome is not None:
            return self._accepted(envelope, outcome.sequence, outcome.events, outcome.nr)
        try:
            check_deadline(envelope, now)
            command = self.read(envelope)
            state, rows = self._apply(envelope, command, aggregate)
        except Rejected as no:
            reply = self._reply(envelope, "rejected", aggregate.sequence, eventful_nr, Error(no.type, no.message))
            return Verdict(envelope, reply)
        except Failure as failure:
            return self.failed(envelope, failure, eventful_nr, aggregate.sequence)
        except Exception as bug:
            log.exception(
                "%s: command %s %s of %s raised", self.stream, envelope.type, envelope.id, envelope.aggregate_id
            )
            return self.failed(
                envelope, Failure("DomainError", f"{type(bug).__name__}: {bug}"), eventful_nr, aggregate.sequence
            )
        if not rows:
            rows = [self._row(envelope, aggregate.sequence, "", str(eventful_nr).encode())]
            aggregate.remember(rows, nr, self._window)
            return self._accepted(envelope, aggregate.sequence, (), eventful_nr, rows)
        aggregate.state = state
        aggregate.remember(rows, nr, self._window)
        return self._accepted(envelope, aggregate.sequence, tuple(row.type for row in rows), nr, rows)

    def read(self, envelope: Envelope) -> Any:
        """The command itself. Raises `Failure`."""
        decoder = self._json.get(envelope.type)
        if decoder is None:
            known = ", ".join(self._json)
            raise Failure("UnknownCommand", f"{self.decider.type} has no command {envelope.type!r}; it has {known}")
        if len(envelope.data) > MAX_COMMAND_BYTES:
            raise Failure("TooLarge", f"the data has {len(envelope.data)} bytes, more than {MAX_COMMAND_BYTES}")
        try:
            if envelope.content_type == JSON:
                command = decoder.decode(envelope.data or b"{}")
            elif envelope.content_type == AVRO:
                command = self._commands.decode(envelope.data)
            else:
                raise Failure("Unreadable", f"content-type {envelope.content_type!r}: use {JSON} or {AVRO}")
        except (msgspec.DecodeError, UnicodeDecodeError, Undecodable) as error:
            raise Failure("Unreadable", f"{envelope.type}: {error}") from None
        if type(command).__name__ != envelope.type:
            raise Failure("Unreadable", f"the data holds a {type(command).__name__}, the type says {envelope.type}")
        # A command may name the field that holds its time; without one, it is when Kafka took the command.
        field = getattr(command, "time_field", None)
        if field is not None and getattr(command, field) is None:
            command = dataclasses.replace(command, **{field: envelope.time})
        return command

    def _apply(self, envelope: Envelope, command: Any, aggregate: Aggregate) -> tuple[Any, list[RecordedEvent]]:
        rows: list[RecordedEvent] = []
        state, size = aggregate.state, 0
        for event in self.decider.decide(command, state):
            state = self.decider.evolve(state, event)
            data = self._events.encode(event)
            size += len(data)
            rows.append(self._row(envelope, aggregate.sequence + len(rows) + 1, type(event).__name__, data))
        if size > MAX_COMMAND_BYTES:
            raise Failure("TooLarge", f"the command causes {size} bytes of events, more than {MAX_COMMAND_BYTES}")
        return state, rows

    def settle(self, indexed_nr: int) -> None:
        """The group is committed: its aggregates go back into the cache."""
        for aggregate_id, aggregate in self.touched.items():
            self.cache.put(aggregate_id, aggregate)
        self.touched = {}
        self.cache.shrink(indexed_nr)

    def failed(self, envelope: Envelope, failure: Failure, eventful_nr: int, sequence: int = 0) -> Verdict:
        """The verdict on a command that cannot be processed."""
        error = Error(failure.type, failure.message)
        return Verdict(envelope, self._reply(envelope, "failed", sequence, eventful_nr, error))

    def _accepted(
        self, envelope: Envelope, sequence: int, events: tuple[str, ...], nr: int, rows: Sequence[RecordedEvent] = ()
    ) -> Verdict:
        reference = AggregateRef(self.decider.type, envelope.aggregate_id, sequence)
        reply = Reply(envelope.id, "accepted", reference, events, f"{self.stream}:{nr}")
        return Verdict(envelope, reply, list(rows))

    def _reply(self, envelope: Envelope, status: Any, sequence: int, nr: int, error: Error) -> Reply:
        reference = AggregateRef(self.decider.type, envelope.aggregate_id, sequence)
        return Reply(envelope.id, status, reference, (), f"{self.stream}:{nr}", error)

    def _row(self, envelope: Envelope, sequence: int, type: str, data: bytes) -> RecordedEvent:
        correlation = envelope.correlation_id or envelope.id
        return RecordedEvent(
            envelope.aggregate_id, sequence, type, data, envelope.id, correlation, envelope.traceparent
        )


async def load_aggregate(
    journal: Journal, decider: Decider[Any, Any, Any], codec: Codec, aggregate_id: str, window: int
) -> Aggregate:
    """An aggregate as the derived tables have it: the snapshot, if this code can use it, and the events after it.

    Raises `Unavailable`, and `Held` when there is an event that this code does not know.
    """
    aggregate = Aggregate(decider.initial)
    snapshot = await journal.snapshot(decider.type, aggregate_id)
    if snapshot is not None and snapshot.version == decider.state_version:
        try:
            aggregate.restore(snapshot, type(decider.initial))
        except (msgspec.DecodeError, ValueError) as error:
            log.warning("%s %s: its snapshot cannot be read, its events are: %s", decider.type, aggregate_id, error)
            aggregate = Aggregate(decider.initial)
    stored = await journal.events(decider.type, aggregate_id, aggregate.sequence)
    base_sequence, base_nr = aggregate.sequence, aggregate.nr
    new = (row for row in stored if row.event.sequence > base_sequence or (not row.event.is_event and row.nr > base_nr))
    for _, rows in groupby(new, key=lambda row: row.event.command_id):
        command = list(rows)
        for row in command:
            if row.event.is_event:
                aggregate.state = decider.evolve(aggregate.state, await decode_event(codec, journal, row.event.data))
        aggregate.remember([row.event for row in command], command[-1].nr, window)
    return aggregate


async def decode_event(codec: Codec, journal: Journal, data: bytes) -> Any:
    """An event of the journal as an object, with the schemas kept beside it when they are not here. Raises `Held`."""
    try:
        return codec.decode(data)
    except UnknownSchema:
        for fingerprint, schema in (await journal.schemas()).items():
            try:
                codec.add(fingerprint, schema)
            except SchemaError as error:
                log.warning("schema %s of the journal: %s", fingerprint, error)
    try:
        return codec.decode(data)
    except Undecodable as error:
        raise Held(f"an event that this version cannot read ({error}): deploy the version that knows it") from None


def now() -> datetime:
    """The wall clock, for information that nothing depends on."""
    return datetime.now(UTC)
