"""What is decided of a group of commands, for one commit: a verdict on each."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeGuard

from aggregates.decider import Rejected
from schemas.sealing import KeysNeeded
from streams.deciding.cache import Aggregate, PendingSnapshot
from streams.deciding.messages import AggregateRef, Envelope, Error, Failure, Message, Reply, Status, encode_reply
from streams.journal.port import RecordedEvent, SliceHead
from streams.journal.position import stream_name
from streams.journal.snapshots import FirstReply
from streams.limits import Limits

log = logging.getLogger(__name__)

MESSAGE_CHARACTERS = 1024
TRACE_CHARACTERS = 8 * 1024
"""Of what the domain raised and of its stack trace, for the dead letter; of the trace the end, which says where."""
MOST_CAUSES = 10


@dataclass(slots=True)
class Verdict:
    """What became of one command: its reply, the rows to record, and for a failure the reason to keep.

    `reply` is None when it gets none yet.
    """

    envelope: Envelope
    reply: Reply | None
    rows: list[RecordedEvent]
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class HeldCommand:
    """The first command of a slice that cannot be decided yet, nor can those behind it, for a reason."""

    offset: int
    aggregate_id: str
    reason: Exception


@dataclass(slots=True)
class DecidedGroup:
    """The verdicts on a group of commands, in order, as they are added.

    nr, time       the number and the time of the commit (UTC)
    slices         how far each slice of the log is with the commit
    size           bytes of the rows
    done           messages, from the first on, that are decided or held: fewer than all where the commit is full
    held           by slice the first command that cannot be decided yet: the commit covers none from there on
    dropped        the places of dead letters, (partition, offset), that are dropped
    snapshots      of the aggregates as they are after the commit, where one is due
    needed         keys of persons without which the rest cannot be decided
    is_discreet    what the domain raises may say what is personal: only where it raised is logged, and told
    cached, loaded    aggregates that were in memory, and that were loaded from the journal
    load_seconds, decide_seconds    what bringing them into memory took, and then deciding
    """

    log: str
    type: str
    limits: Limits
    nr: int
    slices: dict[int, SliceHead]
    time: datetime
    verdicts: list[Verdict] = field(default_factory=list)
    size: int = 0
    done: int = 0
    held: dict[int, HeldCommand] = field(default_factory=dict)
    dropped: list[tuple[int, int]] = field(default_factory=list)
    snapshots: Sequence[PendingSnapshot] = ()
    cached: int = 0
    loaded: int = 0
    needed: KeysNeeded | None = None
    is_discreet: bool = False
    load_seconds: float = 0.0
    decide_seconds: float = 0.0

    @property
    def is_full(self) -> bool:
        """Whether the commit takes no further command."""
        return self.size >= self.limits.group_bytes or len(self.verdicts) >= self.limits.group_commands

    @property
    def events(self) -> tuple[RecordedEvent, ...]:
        """The rows of the commit."""
        return tuple([row for verdict in self.verdicts for row in verdict.rows])

    @property
    def dead_letters(self) -> list[tuple[Envelope, Failure]]:
        """The commands that failed, and why."""
        return [(verdict.envelope, verdict.failure) for verdict in self.verdicts if verdict.failure is not None]

    @property
    def replies(self) -> list[tuple[str, str, bytes]]:
        """Topic, key and value of each reply that a sender waits for."""
        return [
            (
                envelope.reply_to,
                envelope.reply_key or envelope.correlation_id or envelope.id,
                encode_reply(verdict.reply),
            )
            for verdict in self.verdicts
            if verdict.reply is not None and (envelope := verdict.envelope).reply_to
        ]

    def cover(self, message: Message) -> None:
        """The commit covers one more message, the next one."""
        self.done += 1
        self.slices[message.partition] = SliceHead(message.offset, self.slices[message.partition].eventful_nr)

    def hold(self, message: Message, aggregate_id: str, reason: Exception) -> None:
        """The next message cannot be decided yet: it is left out, and so are those that follow it in its slice."""
        self.held[message.partition] = HeldCommand(message.offset, aggregate_id, reason)

    def holds_event(self, slice: int) -> None:
        """The commit holds an event of a slice."""
        self.slices[slice] = SliceHead(self.slices[slice].offset, self.nr)

    def add(
        self, envelope: Envelope, reply: Reply | None, rows: list[RecordedEvent], failure: Failure | None = None
    ) -> Verdict:
        """One more verdict."""
        verdict = Verdict(envelope, reply, rows, failure)
        self.verdicts.append(verdict)
        for row in rows:
            self.size += row.size
        return verdict

    def accept(self, envelope: Envelope, first: FirstReply, rows: list[RecordedEvent]) -> Verdict:
        """The verdict on a command that is accepted, with its rows, or was accepted before."""
        return self.add(envelope, self._reply(envelope, "accepted", first.sequence, first.nr, first.events, None), rows)

    def refuse(self, envelope: Envelope, error: Exception, sequence: int) -> Verdict:
        """The verdict on a command over which `error` was raised: it is rejected, or fails.

        The `sequence` is that of its aggregate, 0 where that is not known.
        """
        if not (isinstance(error, Failure) or _is_rejection(error)):
            what = f"{self.log}: command {envelope.type!r} {envelope.id!r} of {envelope.aggregate_id!r} raised"
            if self.is_discreet:
                log.error("%s %s", what, where_raised(error))
            else:
                log.error("%s", what, exc_info=error)
            error = failure_over(error, is_discreet=self.is_discreet)
        failure = error if isinstance(error, Failure) else None
        status: Status = "rejected" if failure is None else "failed"
        why = Error(error.type, error.message)
        nr = self.slices[envelope.partition].eventful_nr
        return self.add(envelope, self._reply(envelope, status, sequence, nr, (), why), [], failure)

    def note(self, verdict: Verdict, aggregate: Aggregate, type: str, data: bytes) -> None:
        """Record a note on the quarantine of an aggregate with a verdict."""
        note = row_of(verdict.envelope, aggregate.sequence, type, data)
        aggregate.note(note, self.nr)
        verdict.rows.append(note)
        self.size += note.size

    def position(self, slice: int, nr: int) -> str:
        """The position that a reply names: a commit in the stream of a slice."""
        return f"{stream_name(self.type, slice)}:{nr}"

    def _reply(
        self, envelope: Envelope, status: Status, sequence: int, nr: int, events: tuple[str, ...], error: Error | None
    ) -> Reply:
        reference = AggregateRef(self.type, envelope.aggregate_id, sequence)
        return Reply(
            command_id=envelope.id,
            status=status,
            aggregate=reference,
            events=events,
            position=self.position(envelope.partition, nr),
            error=error,
            command=envelope.type,
        )


def row_of(envelope: Envelope, sequence: int, type: str, data: bytes, cause: str = "") -> RecordedEvent:
    """A row that a command causes; the last one says by its `cause` which command it was."""
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
        principal="" if envelope.principal is None else envelope.principal.text,
    )


def _is_rejection(error: Exception) -> TypeGuard[Rejected]:
    """Whether it is a rejection that a reply can hold. It is the domain's, and what it says may be no text."""
    if not isinstance(error, Rejected):
        return False
    try:
        str.encode(error.type), str.encode(error.message)
    except (AttributeError, TypeError, UnicodeEncodeError):
        return False
    return True


def failure_over(bug: BaseException, type: str = "DomainError", is_discreet: bool = False) -> Failure:
    """The failure of a command over which the domain raised, or reading it did. A discreet one says the class and the
    place of what was raised, and nothing of what that says."""
    if is_discreet:
        return Failure(type, bug.__class__.__name__, where_raised(bug)[-TRACE_CHARACTERS:])
    # Not str(bug): a bug may raise there as well, or give what is no UTF-8, or a novel.
    summary = traceback.TracebackException.from_exception(bug)
    # Its first line alone: the rest is for who mends it, and stands in the trace.
    first = str(summary).partition("\n")[0]
    message = f"{bug.__class__.__name__}: {first}"[:MESSAGE_CHARACTERS].encode(errors="replace").decode()
    return Failure(type, message, "".join(summary.format())[-TRACE_CHARACTERS:])


def where_raised(bug: BaseException) -> str:
    """The classes of an exception and of those behind it, with their stack traces, and without what they say."""
    parts: list[str] = []
    at: BaseException | None = bug
    while at is not None and len(parts) < MOST_CAUSES:
        parts.append(f"{at.__class__.__name__}\n{''.join(traceback.format_tb(at.__traceback__))}")
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return "behind it: ".join(parts)
