"""How commands are decided where one that makes the domain raise sets its aggregate aside: `QUARANTINE=on`.

What is set aside, and by which notes it is kept, says `quarantine.py`. Where the setting is off, this decides only the
commands of aggregates that were set aside before, and those that ask for a release.
"""

from __future__ import annotations

import logging

import msgspec

from aggregates.decider import Rejected
from schemas.sealing import KeysNeeded, SubjectIsErased
from streams.deciding.cache import Aggregate
from streams.deciding.command_codec import cause_of
from streams.deciding.command_handler import CommandHandler, forgotten
from streams.deciding.decided_group import DecidedGroup, Verdict
from streams.deciding.messages import (
    Envelope,
    Failure,
    Message,
    check_deadline,
    encode_reply,
    read_envelope,
    unread_envelope,
)
from streams.deciding.orders import DROP, RELEASE, check_desk, letter_of, poison_of
from streams.deciding.personal_commands import CannotOpen, is_sealed
from streams.deciding.quarantine import (
    PARKED,
    QUARANTINED,
    RELEASED,
    UNPARKED,
    Quarantine,
    QuarantineReason,
    WaitingCommand,
    pack,
)
from streams.journal.snapshots import FirstReply

log = logging.getLogger(__name__)


class QuarantinePolicy:
    """Decides commands in the place of their handler, which it asks for each that does not wait.

    Only a release takes more than one commit. Its message is not done before all that waited are decided: when the
    owner stops in between, the message is delivered again, and the release goes on.
    """

    def __init__(self, commands: CommandHandler) -> None:
        self._commands = commands
        self._limits = commands.limits

    def decide(self, envelope: Envelope, aggregate: Aggregate, group: DecidedGroup) -> bool:
        """Decide a command, or let it wait. False: the commit is full, and the command is to be decided again."""
        if aggregate.quarantine is not None and aggregate.quarantine.released_by:
            # A release was interrupted. This is its message again, unless the topic was made anew since.
            is_asked = aggregate.quarantine.released_by == envelope.id
            is_over = self._let_go(aggregate, aggregate.quarantine, envelope if is_asked else None, group)
            if is_asked or not is_over or group.is_full:
                return is_asked and is_over
        quarantine = aggregate.quarantine
        if envelope.is_control:
            return self._control(envelope, aggregate, group)
        if quarantine is None:
            self._set_aside(self._commands.decide(envelope, aggregate, group), aggregate, group)
        elif envelope.retry_of and envelope.id == quarantine.poison:
            return self._retry(envelope, aggregate, quarantine, group)
        else:
            self._park(envelope, aggregate, quarantine, group)
        return True

    # -- into quarantine ---------------------------------------------------------------------------

    def _set_aside(self, verdict: Verdict, aggregate: Aggregate, group: DecidedGroup) -> None:
        """Set an aggregate aside if the domain raised over its command."""
        failure, envelope = verdict.failure, verdict.envelope
        if failure is None or not failure.trace or not self._limits.quarantine:
            return
        failure.quarantines = True
        reason = QuarantineReason(failure.type, failure.message, group.time, envelope.offset)
        group.note(verdict, aggregate, QUARANTINED, msgspec.json.encode(reason))
        log.warning(
            "%s: %r goes into quarantine for its command %r: those that follow wait",
            group.log,
            envelope.aggregate_id,
            envelope.id,
        )

    def _park(self, envelope: Envelope, aggregate: Aggregate, quarantine: Quarantine, group: DecidedGroup) -> None:
        """Let a command wait; what can be said at once is said at once."""
        message = envelope.message
        assert message is not None
        try:
            if (first := self._commands.first_reply(envelope, aggregate, group)) is not None:
                group.accept(envelope, first, [])
                return
            check_deadline(envelope, group.time)
            self._check_room(quarantine, message)
            personal = self._commands.personal
            data = pack(message if personal is None else personal.sealed(message, envelope))
        except KeysNeeded:
            raise  # nothing is noted yet
        except SubjectIsErased:
            group.refuse(envelope, forgotten(), aggregate.sequence)
            return
        except Exception as error:
            group.refuse(envelope, error, aggregate.sequence)
            return
        group.note(group.add(envelope, None, []), aggregate, PARKED, data)

    def _check_room(self, quarantine: Quarantine, message: Message) -> None:
        """Raise `Failure` when one more message cannot wait."""
        number, since = len(quarantine.waiting), quarantine.reason.since
        if number >= self._limits.quarantine_limit or quarantine.size + message.size > self._limits.quarantine_bytes:
            raise Failure(
                "Quarantined",
                f"the aggregate is in quarantine since {since:%Y-%m-%dT%H:%M:%SZ}, {number} commands wait, and no more"
                " can: retry or drop the dead letter that it is in quarantine for, then retry this one",
            )

    # -- out of quarantine -------------------------------------------------------------------------

    def _retry(self, envelope: Envelope, aggregate: Aggregate, quarantine: Quarantine, group: DecidedGroup) -> bool:
        """The poison command again: if the domain takes it now, whatever it says, the others go on behind it."""
        verdict = self._commands.decide(envelope, aggregate, group)
        if verdict.failure is not None and verdict.failure.trace:
            verdict.failure.quarantines = True
            return True
        return self._release(verdict, aggregate, quarantine, group)

    def _control(self, envelope: Envelope, aggregate: Aggregate, group: DecidedGroup) -> bool:
        """Decide a control command."""
        if envelope.type == DROP:
            return self.drop(envelope, aggregate, group)
        quarantine = aggregate.quarantine
        try:
            if (first := self._commands.first_reply(envelope, aggregate, group)) is not None:
                group.accept(envelope, first, [])
                return True
            if envelope.type != RELEASE:
                there = f"there are {RELEASE} and {DROP}"
                raise Failure("UnknownCommand", f"there is no control command {envelope.type!r}; {there}")
            poison = poison_of(envelope.data)
            if quarantine is None:
                raise Rejected("NotQuarantined", f"{envelope.aggregate_id} is not in quarantine")
            if poison not in ("", quarantine.poison):
                why = f"{envelope.aggregate_id} is in quarantine for the command {quarantine.poison}, not for {poison}"
                raise Rejected("NotQuarantined", why)
        except Exception as error:
            group.refuse(envelope, error, aggregate.sequence)
            return True
        cause = cause_of(envelope.type, envelope.data)
        verdict = self._commands.accept(envelope, aggregate, [], cause, group)
        return self._release(verdict, aggregate, quarantine, group)

    def drop(self, envelope: Envelope, aggregate: Aggregate | None, group: DecidedGroup) -> bool:
        """Have a dead letter dropped, with the commit; None: its aggregate cannot be loaded, and is in no quarantine.
        Again it has the same effect: nothing is remembered of it."""
        sequence = 0 if aggregate is None else aggregate.sequence
        try:
            check_desk(envelope)
            place, command_id = letter_of(envelope.data)
        except Exception as error:
            group.refuse(envelope, error, sequence)
            return True
        group.dropped.append(place)
        log.warning("%s: the dead letter %d:%d is dropped for %s", group.log, *place, _asker(envelope))
        if aggregate is not None and (quarantine := aggregate.quarantine) and command_id == quarantine.poison:
            cause = cause_of(envelope.type, envelope.data)
            verdict = self._commands.accept(envelope, aggregate, [], cause, group)
            return self._release(verdict, aggregate, quarantine, group)
        group.accept(envelope, FirstReply(group.slices[envelope.partition].eventful_nr, sequence, ()), [])
        return True

    def _release(self, verdict: Verdict, aggregate: Aggregate, quarantine: Quarantine, group: DecidedGroup) -> bool:
        """Settle the poison command with `verdict`, which is answered when all that wait have gone on."""
        log.warning(
            "%s: %r leaves quarantine, and the %d commands that wait go on",
            group.log,
            verdict.envelope.aggregate_id,
            len(quarantine.waiting),
        )
        group.note(verdict, aggregate, RELEASED, encode_reply(verdict.reply))
        if aggregate.quarantine is None:
            return True
        verdict.reply = None
        return self._let_go(aggregate, quarantine, verdict.envelope, group)

    def _let_go(
        self, aggregate: Aggregate, quarantine: Quarantine, asked: Envelope | None, group: DecidedGroup
    ) -> bool:
        """Decide those that wait, in order, until none is left or one makes the domain raise; then answer `asked`.

        False where the commit is full before, or keys of persons are `needed`.
        """
        while aggregate.quarantine is quarantine:
            if group.is_full:
                return False
            try:
                verdict = self._unpark(quarantine.waiting[0], aggregate, group)
            except KeysNeeded as needed:  # the rest is for the next commit
                group.needed = needed
                return False
            group.note(verdict, aggregate, UNPARKED, b"")
            self._set_aside(verdict, aggregate, group)
        if asked is not None:
            group.add(asked, quarantine.reply, [])
        return True

    def _unpark(self, waiting: WaitingCommand, aggregate: Aggregate, group: DecidedGroup) -> Verdict:
        """Decide one that has waited. Raises `KeysNeeded`; nothing is decided then."""
        message = waiting.message
        if is_sealed(message.headers) and (personal := self._commands.personal) is not None:
            try:
                message = personal.opened(message)
            except CannotOpen as why:
                return self._unopened(waiting, str(why), aggregate, group)
        envelope, failure = self._commands.read(message, waiting.id, waiting.principal)
        if failure is not None:
            return group.refuse(envelope, failure, aggregate.sequence)
        return self._commands.decide(envelope, aggregate, group)

    def _unopened(self, waiting: WaitingCommand, why: str, aggregate: Aggregate, group: DecidedGroup) -> Verdict:
        """The rejection of one that nobody can read any more: a person whom it speaks of was forgotten since."""
        log.warning("%s: the command %r, which has waited, is given up: %s", group.log, waiting.id, why)
        try:
            envelope = read_envelope(waiting.message, waiting.id)
        except Failure as failure:
            envelope = failure.envelope or unread_envelope(waiting.message, waiting.id)
        envelope.aggregate_id = envelope.aggregate_id or (waiting.message.key or b"").decode(errors="replace")
        return group.refuse(envelope, forgotten(), aggregate.sequence)


def _asker(envelope: Envelope) -> str:
    origin = None if envelope.principal is None else envelope.principal.on_behalf_of
    return "whoever asked" if origin is None else str(origin)
