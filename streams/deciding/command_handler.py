"""One command: read, checked and decided, its events encoded. Knows neither Kafka nor Faust nor the journal."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable
from typing import Any

from aggregates.decider import FORBIDDEN, Decider, Rejected
from schemas.codec import Codec
from schemas.fit_values import Unfit
from schemas.sealing import KeysNeeded, Place, SubjectIsErased
from streams.deciding.cache import Aggregate
from streams.deciding.command_codec import CommandCodec, cause_of
from streams.deciding.decided_group import DecidedGroup, Verdict, failure_over, row_of, where_raised
from streams.deciding.messages import Envelope, Failure, Message, check_deadline, read_envelope, unread_envelope
from streams.deciding.personal_commands import PersonalCommands
from streams.journal.port import RecordedEvent
from streams.journal.snapshots import FirstReply
from streams.limits import Limits
from streams.principals.key_ring import KeyRing
from streams.principals.signature import Forged, Signed, UnknownKey, VerifyingKeys, named, verified

log = logging.getLogger(__name__)

Check = Callable[[RecordedEvent, Any], object]
"""Is called with each new event, and its value. What it raises is a bug of the domain, unless it is a `Failure`: the
event is not written."""
SUBJECT_ERASED = "SubjectErased"
"""The type of the rejection of a command that says something new of a person who was forgotten."""
FORGED = "ForgedPrincipal"
UNKNOWN_KEY = "UnknownKey"
"""The types of the failures of commands that do not come from whom they say, or of whom that cannot be told."""
_SEQUENCE = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)


class CommandHandler:
    """Decides commands of one aggregate type, each for the commit of its group; it keeps nothing of them.

    window    the command ids that an aggregate remembers
    keys      with which it is checked in whose name a command comes
    """

    def __init__(
        self,
        *,
        decider: Decider[Any, Any, Any],
        events: Codec,
        commands: Codec,
        window: int,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        check: Check | None = None,
        keys: VerifyingKeys | None = None,
    ) -> None:
        self.decider = decider
        self.events = events
        self.window = window
        self.limits = limits
        self._commands = CommandCodec(decider, commands)
        self.personal = None if events.sealer is None else PersonalCommands(decider, commands, events.sealer)
        """What seals commands of persons where they are kept; None: no event has anything personal."""
        self._check = check
        self.keys = KeyRing() if keys is None else keys

    @property
    def is_discreet(self) -> bool:
        """Whether what the domain raises may say what is personal."""
        return self.personal is not None

    def read(self, message: Message, id: str = "", known_as: str = "") -> tuple[Envelope, Failure | None]:
        """A message as a command; where it cannot be read, what is known of it, and the failure, whatever stands in the
        message. One that brings no id has `id`. `known_as` is the text of the principal of one that was read before."""
        try:
            envelope = read_envelope(message, id)
            if envelope.said is not None:
                self._verify(envelope, known_as)
            return envelope, None
        except Exception as error:
            if isinstance(error, Failure) and error.envelope is not None:
                return error.envelope, error
            what = f"a command of {message.key!r}, in partition {message.partition} at offset {message.offset},"
            if self.is_discreet:
                log.error("%s cannot be read: %s", what, where_raised(error))
            else:
                log.exception("%s cannot be read", what)
            return unread_envelope(message, id), failure_over(error, "Unreadable", self.is_discreet)

    def _verify(self, envelope: Envelope, known_as: str) -> None:
        """Find out in whose name a command comes. Raises `Failure` where it does not come from whom it says.

        The key of one that was read before may be kept no longer.
        """
        said = envelope.said or {}
        signed = Signed(
            self.decider.type,
            envelope.aggregate_id,
            envelope.id,
            envelope.type,
            envelope.data,
            envelope.content_type,
            envelope.expected_sequence,
            envelope.deadline,
        )
        try:
            envelope.principal = verified(said, signed, self.keys)
        except Forged as error:
            if known_as and isinstance(error, UnknownKey) and (principal := named(said)).text == known_as:
                envelope.principal = principal
                return
            kind = UNKNOWN_KEY if isinstance(error, UnknownKey) else FORGED
            failure = Failure(kind, f"in whose name the command comes cannot be believed: {error}")
            failure.envelope = envelope
            raise failure from None

    def decide(self, envelope: Envelope, aggregate: Aggregate, group: DecidedGroup) -> Verdict:
        """Decide a command, and add the verdict to its group. Only one that is accepted changes the aggregate.

        Raises `KeysNeeded` where keys of persons are to be fetched; nothing is decided then."""
        try:
            if (first := self.first_reply(envelope, aggregate, group)) is not None:
                return group.accept(envelope, first, [])
            check_deadline(envelope, group.time)
            _check_expected(envelope, aggregate.sequence)
            state, rows, cause = self._decide(envelope, aggregate)
        except KeysNeeded:
            raise  # nothing is decided yet
        except Exception as error:
            return group.refuse(envelope, error, aggregate.sequence)
        aggregate.state = state
        return self.accept(envelope, aggregate, rows, cause, group)

    def first_reply(self, envelope: Envelope, aggregate: Aggregate, group: DecidedGroup) -> FirstReply | None:
        """The first reply to a command that was accepted before.

        Raises `Failure` for another command with its id, and what reading it raises.
        """
        first = aggregate.outcomes.get(envelope.id)
        if first is None or not first.command:
            return first
        if envelope.is_control:
            is_same = cause_of(envelope.type, envelope.data) == first.command
        else:
            is_same = self._commands.is_cause(first.command, envelope.type, self._commands.read(envelope))
        if not is_same:
            former = first.command.rpartition(" ")[0]
            at = group.position(envelope.partition, first.nr)
            other = "" if former != envelope.type else " with other data"
            used = f"the id {envelope.id} was used for {former}{other}, accepted at {at}"
            do = "a new command needs a new id, and the same id means the same command again"
            raise Failure("IdUsedBefore", f"{used}: {do}")
        return first

    def _decide(self, envelope: Envelope, aggregate: Aggregate) -> tuple[Any, list[RecordedEvent], str]:
        """The state after a command, the rows of its events, and what tells it from another with its id.

        Raises `Rejected`, `Failure`, and what the domain raises.
        """
        sent = command = self._commands.read(envelope)
        # A command may name the field that holds its time; without one, it is when Kafka took the command.
        field = getattr(command, "time_field", None)
        if field is not None and getattr(command, field) is None:
            command = dataclasses.replace(command, **{field: envelope.time})
        self._check_principal(envelope, command, aggregate.state)
        events = self.decider.decide(command, aggregate.state)
        most = self.limits.events_per_command
        if len(events) > most:
            raise Failure("TooManyEvents", f"the command causes {len(events)} events, more than {most}")
        cause = self._commands.cause(envelope.type, sent)
        state = aggregate.state
        rows: list[RecordedEvent] = []
        for number, event in enumerate(events, 1):
            try:
                # From here on the event is what will be read: so is the state, and what the event causes.
                data, kept = self.events.write(event, Place(envelope.aggregate_id, aggregate.sequence + number))
            except SubjectIsErased:
                raise forgotten() from None
            except Unfit as unfit:
                why = str(unfit).partition(":")[0] if self.is_discreet else str(unfit)
                raise Failure("InvalidEvent", f"{envelope.type} causes an event that cannot be kept: {why}") from None
            state = self.decider.evolve(state, kept)
            ending = cause if number == len(events) else ""
            row = row_of(envelope, aggregate.sequence + number, type(event).__name__, data, ending)
            if self._check is not None:
                self._check(row, kept)
            rows.append(row)
        # Ids come from the command, whose size is bounded: once they do not matter.
        size = len(rows[0].data) if len(rows) == 1 else sum([row.size for row in rows])
        most = self.limits.event_bytes_per_command
        if size > most:
            raise Failure("TooLarge", f"the command causes {size} bytes of events, more than {most}, with their ids")
        return state, rows, cause

    def _check_principal(self, envelope: Envelope, command: Any, state: Any) -> None:
        """Raise `Rejected` where whoever has sent a command may not."""
        if envelope.principal is None and self.limits.principal_required:
            raise Rejected(FORBIDDEN, "commands of nobody who is known are not taken here: PRINCIPAL_REQUIRED=yes")
        self.decider.check(envelope.principal, command, state)

    def accept(
        self, envelope: Envelope, aggregate: Aggregate, rows: list[RecordedEvent], cause: str, group: DecidedGroup
    ) -> Verdict:
        """Add an accepted command to its group, and have the aggregate remember it; `rows` are its events."""
        if rows:
            group.holds_event(envelope.partition)
        else:  # remembered with the position that its reply names
            nr = group.slices[envelope.partition].eventful_nr
            rows = [row_of(envelope, aggregate.sequence, "", str(nr).encode(), cause)]
        return group.accept(envelope, aggregate.remember(rows, group.nr, self.window), rows)


def forgotten() -> Rejected:
    """The rejection of a command that says something of a person who was forgotten."""
    return Rejected(SUBJECT_ERASED, "the person that the command speaks of was forgotten")


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
