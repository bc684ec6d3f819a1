"""From commands to events: load, decide, evolve. Knows neither Kafka nor Faust nor which journal it is."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Literal

from aggregates.decider import Decider, Rejected
from schemas.codec import Codec
from schemas.fit_values import Unfit
from streams.deciding.cache import Aggregate, Cache
from streams.deciding.command_codec import CommandCodec, cause_of
from streams.deciding.messages import AggregateRef, Envelope, Error, Failure, Reply, check_deadline
from streams.deciding.quarantine import is_note
from streams.deciding.verdict import PendingCommit, Verdict, domain_error
from streams.journal.event_decoding import decode_event
from streams.journal.port import Aggregates, RecordedEvent
from streams.journal.snapshots import form_of
from streams.limits import Limits

log = logging.getLogger(__name__)

LOADS_AT_ONCE = 64
_SEQUENCE = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)


class EvolveFailed(Exception):
    """The domain raised over an event that it has once decided itself."""


class CommandHandler:
    """Decides the commands of one stream. State lives in `cache`; a group in work has its aggregates out.

    What `check` raises over a new event is a bug of the domain, unless it is a `Failure`: the event is not written.

    After `decide` the group is to be committed, then `settle` called; or else the handler dropped, since
    its aggregates have run ahead of the journal.
    """

    def __init__(
        self,
        decider: Decider[Any, Any, Any],
        events: Codec,
        commands: Codec,
        journal: Aggregates,
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
        self._commands = CommandCodec(decider, commands)
        self._journal = journal
        self._window = dedupe_window
        self.check: Callable[[RecordedEvent, Any], object] | None = None
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
            elif isinstance(result, EvolveFailed):
                self._broken[aggregate_id] = domain_error(result.__cause__ or result)
        for result in loaded:
            if isinstance(result, BaseException) and not isinstance(result, EvolveFailed):
                raise result

    async def _load(self, aggregate_id: str) -> Aggregate:
        async with self._loads:
            return await load_aggregate(self._journal, self.decider, self._events, aggregate_id, self._window)

    def decide(self, envelope: Envelope, draft: PendingCommit) -> Verdict:
        """Decide one command for a commit."""
        aggregate = self.touched.get(envelope.aggregate_id)
        if aggregate is None:
            return self.failed(envelope, self._broken[envelope.aggregate_id], draft)
        verdict = self.repeated(envelope, aggregate, draft)
        if verdict is not None:
            return verdict
        try:
            check_deadline(envelope, draft.time)
            _check_expected(envelope, aggregate.sequence)
            state, rows, cause = self._attempt(envelope, aggregate)
        except Rejected as no:
            return self.rejected(envelope, no, draft)
        except Failure as failure:
            return self.failed(envelope, failure, draft)
        aggregate.state = state
        return self.accepted(envelope, aggregate, rows, draft, cause)

    def repeated(self, envelope: Envelope, aggregate: Aggregate, draft: PendingCommit) -> Verdict | None:
        """The first reply to a command that was accepted before; for another one with its id the refusal."""
        outcome = aggregate.outcomes.get(envelope.id)
        if outcome is None:
            return None
        try:
            again = self._cause(envelope) if outcome.command else ""
        except Failure as failure:
            return self.failed(envelope, failure, draft)
        except Exception as bug:
            return self.failed(envelope, domain_error(bug), draft)
        if again and again != outcome.command:
            former = outcome.command.rpartition(" ")[0]
            other = "" if former != envelope.type else " with other data"
            used = f"the id {envelope.id} was used for {former}{other}, accepted at {self.stream}:{outcome.nr}"
            do = "a new command needs a new id, and the same id means the same command again"
            return self.failed(envelope, Failure("IdUsedBefore", f"{used}: {do}"), draft)
        return Verdict(envelope, self._reply(envelope, "accepted", outcome.sequence, outcome.nr, outcome.events))

    def _cause(self, envelope: Envelope) -> str:
        """What tells a command from another with its id. Raises `Failure`, and what the domain raises."""
        if envelope.type.startswith("#"):  # a control command, whose data no class of the domain reads
            return cause_of(envelope.type, envelope.data)
        return self._commands.cause(envelope.type, self._commands.read(envelope))

    def _attempt(self, envelope: Envelope, aggregate: Aggregate) -> tuple[Any, list[RecordedEvent], str]:
        """Decide, a few times when the domain raises, at once: it is pure, so only what is not its own fault passes."""
        for attempt in range(self.limits.decide_attempts, 0, -1):
            try:
                return self._apply(envelope, self._commands.read(envelope), aggregate)
            except (Rejected, Failure):
                raise
            except Exception as bug:
                if attempt == 1:
                    log.exception(
                        "%s: command %r %r of %r raised", self.stream, envelope.type, envelope.id, envelope.aggregate_id
                    )
                    raise domain_error(bug) from None
        raise AssertionError("at least one attempt")

    def _apply(self, envelope: Envelope, command: Any, aggregate: Aggregate) -> tuple[Any, list[RecordedEvent], str]:
        rows: list[RecordedEvent] = []
        state, size, said = aggregate.state, 0, command
        # A command may name the field that holds its time; without one, it is when Kafka took the command.
        field = getattr(command, "time_field", None)
        if field is not None and getattr(command, field) is None:
            command = dataclasses.replace(command, **{field: envelope.time})
        events = self.decider.decide(command, state)
        if len(events) > self.limits.events_per_command:
            raise Failure(
                "TooManyEvents", f"the command causes {len(events)} events, more than {self.limits.events_per_command}"
            )
        cause = self._commands.cause(envelope.type, said)
        for event in events:
            try:
                # From here on the event is what will be read: so is the state, and what the event causes.
                data, kept = self._events.write(event)
            except Unfit as why:
                raise Failure("InvalidEvent", f"{envelope.type} causes an event that cannot be kept: {why}") from None
            state = self.decider.evolve(state, kept)
            number = len(rows) + 1
            told = cause if number == len(events) else ""
            rows.append(self.row(envelope, aggregate.sequence + number, type(event).__name__, data, told))
            if self.check is not None:
                self.check(rows[-1], kept)
            size += len(data)
        most = self.limits.event_bytes_per_command
        if len(rows) > 1:  # ids come from the command, whose size is bounded: once they do not matter
            size = sum(row.size for row in rows)
        if size > most:
            raise Failure("TooLarge", f"the command causes {size} bytes of events, more than {most}, with their ids")
        return state, rows, cause

    def settle(self, derived_nr: int) -> None:
        """The group is committed: its aggregates go back into the cache."""
        for aggregate_id, aggregate in self.touched.items():
            self.cache.put(aggregate_id, aggregate)
        self.touched, self._broken = {}, {}
        self.cache.shrink(derived_nr)

    def accepted(
        self, envelope: Envelope, aggregate: Aggregate, rows: list[RecordedEvent], draft: PendingCommit, cause: str = ""
    ) -> Verdict:
        """The verdict on an accepted command, which the aggregate remembers; `rows` are its events, `cause` tells it
        from another with its id."""
        if rows:
            draft.eventful_nr = draft.nr
            types = tuple([row.type for row in rows])
        else:
            note = str(draft.eventful_nr).encode()
            rows, types = [self.row(envelope, aggregate.sequence, "", note, cause or self._cause(envelope))], ()
        aggregate.remember(rows, draft.nr, self._window)
        reply = self._reply(envelope, "accepted", aggregate.sequence, draft.eventful_nr, types)
        return Verdict(envelope, reply, rows)

    def rejected(self, envelope: Envelope, no: Rejected, draft: PendingCommit) -> Verdict:
        """The verdict on a command that is refused."""
        error = Error(no.type, no.message)
        sequence = self.touched[envelope.aggregate_id].sequence
        return Verdict(envelope, self._reply(envelope, "rejected", sequence, draft.eventful_nr, error=error))

    def failed(self, envelope: Envelope, failure: Failure, draft: PendingCommit) -> Verdict:
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
        return Reply(
            command_id=envelope.id,
            status=status,
            aggregate=reference,
            events=events,
            position=f"{self.stream}:{nr}",
            error=error,
            command=envelope.type,
        )

    def row(self, envelope: Envelope, sequence: int, type: str, data: bytes, cause: str = "") -> RecordedEvent:
        """A row that a command causes; the last one says which command it was."""
        correlation = envelope.correlation_id or envelope.id
        return RecordedEvent(
            aggregate_id=envelope.aggregate_id,
            sequence=sequence,
            type=type,
            data=data,
            command_id=envelope.id,
            correlation_id=correlation,
            traceparent=envelope.traceparent,
            command=cause,
        )


async def load_aggregate(
    journal: Aggregates, decider: Decider[Any, Any, Any], codec: Codec, aggregate_id: str, window: int
) -> Aggregate:
    """An aggregate as the derived tables have it: the snapshot, if this code can use it, and the events after it.

    Raises `Unavailable`, `Held` when there is an event that this code does not know, and `EvolveFailed`.
    """
    aggregate = Aggregate(decider.initial)
    snapshot = await journal.snapshot(decider.type, aggregate_id)
    if snapshot is not None and snapshot.version == decider.state_version:
        try:
            aggregate.restore(snapshot, form_of(decider))
        except Exception as error:  # a state may raise what it likes, as it is made
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
                    raise EvolveFailed(f"{decider.type} {aggregate_id}: event {row.event.sequence}: {bug!r}") from bug
        if effect:
            aggregate.remember(effect, nr, window)
        for note in notes:
            aggregate.note(note, nr)
    return aggregate


def _check_expected(envelope: Envelope, sequence: int) -> None:
    """Raise `Rejected` when the aggregate is not where the command expects it, `Failure` for no such expectation."""
    expected = envelope.expected_sequence
    if not expected or expected == str(sequence) or (expected == "*" and sequence):
        return
    if expected != "*" and not _SEQUENCE.fullmatch(expected):
        raise Failure(
            "Unreadable",
            f"the expected sequence {expected[:40]!r} is none: use that of the aggregate's newest event, 0 for an "
            "aggregate that does not exist, or * for one that does",
        )
    wanted = "an aggregate that exists" if expected == "*" else f"sequence {expected}"
    raise Rejected("UnexpectedSequence", f"the aggregate is at sequence {sequence}, the command expects {wanted}")


def now() -> datetime:
    """The wall clock, for information that nothing depends on."""
    return datetime.now(UTC)
