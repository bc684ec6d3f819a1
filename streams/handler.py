"""From commands to events: load, decide, evolve. Knows neither Kafka nor Faust nor which journal it is."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Literal

import msgspec

from aggregates.decider import Decider, Rejected
from schemas.codec import Codec, Undecodable
from streams.cache import Aggregate, Cache
from streams.journal import Journal, RecordedEvent
from streams.limits import Limits
from streams.messages import AVRO, JSON, AggregateRef, Envelope, Error, Failure, Reply, check_deadline
from streams.quarantine import is_note
from streams.reading import decode_event
from streams.verdict import Draft, Verdict, domain_error

log = logging.getLogger(__name__)

LOADS_AT_ONCE = 64


class Broken(Exception):
    """The domain raised over an event that it has once decided itself."""


class Handler:
    """Decides the commands of one stream. State lives in `cache`; a group in work has its aggregates out.

    What `check` raises over a new event is a bug of the domain: the event is not written.

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
        limits: Limits = Limits(),  # noqa: B008  (frozen)
    ) -> None:
        self.decider = decider
        self.stream = stream
        self.cache = cache
        self.limits = limits
        self._events = events
        self._commands = commands
        self._journal = journal
        self._window = dedupe_window
        self.check: Callable[[str, Any], object] | None = None
        self._json: dict[str, msgspec.json.Decoder[Any]] = {
            name: msgspec.json.Decoder(class_) for name, class_ in decider.commands.items()
        }
        self._loads = asyncio.Semaphore(LOADS_AT_ONCE)
        self.touched: dict[str, Aggregate] = {}
        self._broken: dict[str, Failure] = {}

    async def load(self, ids: Iterable[str]) -> None:
        """Bring the aggregates of a group into work, the cold ones concurrently. Raises `Unavailable`, `Held`.

        One that the domain cannot make from its events stays out, and its commands fail.
        """
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
            elif isinstance(result, Broken):
                self._broken[aggregate_id] = domain_error(result.__cause__ or result)
        for result in loaded:
            if isinstance(result, BaseException) and not isinstance(result, Broken):
                raise result

    async def _load(self, aggregate_id: str) -> Aggregate:
        async with self._loads:
            return await load_aggregate(self._journal, self.decider, self._events, aggregate_id, self._window)

    def decide(self, envelope: Envelope, draft: Draft) -> Verdict:
        """Decide one command for a commit."""
        aggregate = self.touched.get(envelope.aggregate_id)
        if aggregate is None:
            return self.failed(envelope, self._broken[envelope.aggregate_id], draft)
        verdict = self.repeated(envelope, aggregate)
        if verdict is not None:
            return verdict
        try:
            check_deadline(envelope, draft.time)
            state, rows = self._attempt(envelope, aggregate)
        except Rejected as no:
            return self.rejected(envelope, no, draft)
        except Failure as failure:
            return self.failed(envelope, failure, draft)
        aggregate.state = state
        return self.accepted(envelope, aggregate, rows, draft)

    def repeated(self, envelope: Envelope, aggregate: Aggregate) -> Verdict | None:
        """The first reply to a command that was accepted before."""
        outcome = aggregate.outcomes.get(envelope.id)
        if outcome is None:
            return None
        return Verdict(envelope, self._reply(envelope, "accepted", outcome.sequence, outcome.nr, outcome.events))

    def _attempt(self, envelope: Envelope, aggregate: Aggregate) -> tuple[Any, list[RecordedEvent]]:
        """Decide, a few times when the domain raises, at once: it is pure, so only what is not its own fault passes."""
        for attempt in range(self.limits.attempts, 0, -1):
            try:
                return self._apply(envelope, self.read(envelope), aggregate)
            except (Rejected, Failure):
                raise
            except Exception as bug:
                if attempt == 1:
                    log.exception(
                        "%s: command %r %r of %r raised", self.stream, envelope.type, envelope.id, envelope.aggregate_id
                    )
                    raise domain_error(bug) from None
        raise AssertionError("at least one attempt")

    def read(self, envelope: Envelope) -> Any:
        """The command itself. Raises `Failure`."""
        decoder = self._json.get(envelope.type)
        if decoder is None:
            known = ", ".join(self._json)
            raise Failure("UnknownCommand", f"{self.decider.type} has no command {envelope.type!r}; it has {known}")
        try:
            if envelope.content_type == JSON:
                command = decoder.decode(envelope.data or b"{}")
            elif envelope.content_type == AVRO:
                command = self._commands.decode_one(envelope.data)
            else:
                raise Failure("Unreadable", f"content-type {envelope.content_type!r}: use {JSON} or {AVRO}")
        except RecursionError:
            raise Failure("Unreadable", f"{envelope.type}: the data are nested too deeply") from None
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
        events = self.decider.decide(command, state)
        if len(events) > self.limits.command_events:
            raise Failure(
                "TooManyEvents", f"the command causes {len(events)} events, more than {self.limits.command_events}"
            )
        for event in events:
            state = self.decider.evolve(state, event)
            if self.check is not None:
                self.check(envelope.aggregate_id, event)
            data = self._events.encode(event)
            size += len(data)
            rows.append(self.row(envelope, aggregate.sequence + len(rows) + 1, type(event).__name__, data))
        most = self.limits.command_event_bytes
        if size > most:
            raise Failure("TooLarge", f"the command causes {size} bytes of events, more than {most}")
        return state, rows

    def settle(self, indexed_nr: int) -> None:
        """The group is committed: its aggregates go back into the cache."""
        for aggregate_id, aggregate in self.touched.items():
            self.cache.put(aggregate_id, aggregate)
        self.touched, self._broken = {}, {}
        self.cache.shrink(indexed_nr)

    def accepted(self, envelope: Envelope, aggregate: Aggregate, rows: list[RecordedEvent], draft: Draft) -> Verdict:
        """The verdict on an accepted command, which the aggregate remembers; `rows` are its events."""
        if rows:
            draft.eventful_nr = draft.nr
            types = tuple(row.type for row in rows)
        else:
            rows, types = [self.row(envelope, aggregate.sequence, "", str(draft.eventful_nr).encode())], ()
        aggregate.remember(rows, draft.nr, self._window)
        reply = self._reply(envelope, "accepted", aggregate.sequence, draft.eventful_nr, types)
        return Verdict(envelope, reply, rows)

    def rejected(self, envelope: Envelope, no: Rejected, draft: Draft) -> Verdict:
        """The verdict on a command that is refused."""
        error = Error(no.type, no.message)
        sequence = self.touched[envelope.aggregate_id].sequence
        return Verdict(envelope, self._reply(envelope, "rejected", sequence, draft.eventful_nr, error=error))

    def failed(self, envelope: Envelope, failure: Failure, draft: Draft) -> Verdict:
        """The verdict on a command that cannot be processed."""
        error = Error(failure.type, failure.message)
        aggregate = self.touched.get(envelope.aggregate_id)
        sequence = aggregate.sequence if aggregate is not None else 0
        reply = self._reply(envelope, "failed", sequence, draft.eventful_nr, error=error)
        return Verdict(envelope, reply, failure=failure)

    def _reply(
        self,
        envelope: Envelope,
        status: Literal["accepted", "rejected", "failed"],
        sequence: int,
        nr: int,
        events: tuple[str, ...] = (),
        error: Error | None = None,
    ) -> Reply:
        reference = AggregateRef(self.decider.type, envelope.aggregate_id, sequence)
        return Reply(envelope.id, status, reference, events, f"{self.stream}:{nr}", error)

    def row(self, envelope: Envelope, sequence: int, type: str, data: bytes) -> RecordedEvent:
        """A row that a command causes."""
        correlation = envelope.correlation_id or envelope.id
        return RecordedEvent(
            envelope.aggregate_id, sequence, type, data, envelope.id, correlation, envelope.traceparent
        )


async def load_aggregate(
    journal: Journal, decider: Decider[Any, Any, Any], codec: Codec, aggregate_id: str, window: int
) -> Aggregate:
    """An aggregate as the derived tables have it: the snapshot, if this code can use it, and the events after it.

    Raises `Unavailable`, `Held` when there is an event that this code does not know, and `Broken`.
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
    for (nr, _), rows in groupby(new, key=lambda row: (row.nr, row.event.command_id)):
        effect: list[RecordedEvent] = []
        notes: list[RecordedEvent] = []
        for row in rows:
            (notes if is_note(row.event) else effect).append(row.event)
            if row.event.is_event:
                events = await decode_event(codec, journal, row.event.data)
                try:
                    aggregate.state = decider.fold(events, aggregate.state)
                except Exception as bug:
                    raise Broken(f"{decider.type} {aggregate_id}: event {row.event.sequence}: {bug!r}") from bug
        if effect:
            aggregate.remember(effect, nr, window)
        for note in notes:
            aggregate.note(note, nr)
    return aggregate


def now() -> datetime:
    """The wall clock, for information that nothing depends on."""
    return datetime.now(UTC)
