"""What stands between a message and the decider: limits, control commands, and the quarantine of its aggregate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import msgspec

from aggregates.decider import Rejected
from streams.deciding.cache import Aggregate
from streams.deciding.handler import CommandHandler
from streams.deciding.messages import (
    EPOCH,
    JSON,
    Envelope,
    Failure,
    Message,
    check_deadline,
    encode_reply,
    read_envelope,
)
from streams.deciding.quarantine import (
    PARKED,
    QUARANTINED,
    RELEASE,
    RELEASED,
    UNPARKED,
    Quarantine,
    QuarantineReason,
    pack,
)
from streams.deciding.verdict import PendingCommit, Verdict, domain_error
from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import Fenced, Unavailable
from streams.limits import Limits

log = logging.getLogger(__name__)


class _ReleaseData(msgspec.Struct):
    command_id: str = ""


_decode_release = msgspec.json.Decoder(_ReleaseData).decode


class Admission:
    """Decides the messages of one partition, each in steps.

    A step is what must stand in one commit. Only a release takes more than one. Its message is not covered before all
    of them are committed: when the owner stops in between, the message is delivered again, and the release goes on.
    """

    def __init__(
        self,
        handler: CommandHandler,
        limits: Limits,
        partition: int,
        topic_id: str,
        check_partition: Callable[[bytes], int],
        advice: Callable[[], str],
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._partition = partition
        self._topic_id = topic_id
        self._check_partition = check_partition
        self._advice = advice

    def read(self, message: Message, draft: PendingCommit) -> Envelope | Verdict:
        """A message as a command, or the verdict when it is none that this partition takes."""
        try:
            envelope = self._envelope(message)
        except Failure as failure:
            return self._unreadable(failure, message, draft)
        refusal = self._refusal(message, envelope)
        return envelope if refusal is None else self._handler.failed(envelope, refusal, draft)

    def _refusal(self, message: Message, envelope: Envelope) -> Failure | None:
        size = message.size
        if size > self._limits.command_bytes:
            return Failure(
                "TooLarge", f"the command has {size} bytes with key and headers, more than {self._limits.command_bytes}"
            )
        if envelope.aggregate_id in self._handler.cache or not message.key:
            return None
        right = self._check_partition(message.key)
        if right == self._partition:
            return None
        return Failure(
            "WrongPartition",
            f"key {envelope.aggregate_id!r} belongs to partition {right}, not {self._partition}: "
            + (self._advice() or "use the murmur2 partitioner (librdkafka: partitioner=murmur2_random)"),
        )

    def steps(self, envelope: Envelope, draft: PendingCommit) -> Iterator[list[Verdict]]:
        """The verdicts that a command causes, the last of them `final`. Its aggregate is in work.

        What this raises for one command is that command's failure, as long as nothing has been noted for it.
        """
        aggregate = self._handler.touched.get(envelope.aggregate_id)
        before = _state(aggregate)
        try:
            if aggregate is not None and aggregate.quarantine is None and not envelope.type.startswith("#"):
                # Nearly all commands, without one generator more.
                yield [self._guarded(self._handler.decide(envelope, draft), aggregate, draft)]
            else:
                yield from self._steps(aggregate, envelope, draft)
        except (Unavailable, NotReadableYet, Fenced):
            raise
        except Exception as bug:
            if _state(aggregate) != before:
                raise
            yield [self._handler.failed(envelope, self._bug(bug, envelope.offset), draft)]

    def _steps(self, aggregate: Aggregate | None, envelope: Envelope, draft: PendingCommit) -> Iterator[list[Verdict]]:
        if aggregate is None:
            yield [self._handler.decide(envelope, draft)]
            return
        if aggregate.quarantine is not None and aggregate.quarantine.released_by:
            # A release was interrupted. This is its message again, unless the topic was made anew since.
            asked = aggregate.quarantine.released_by == envelope.id
            yield from self._let_go(aggregate, envelope if asked else None, draft)
            if asked:
                return
        if envelope.type.startswith("#"):
            yield from self._control(aggregate, envelope, draft)
        elif aggregate.quarantine is None:
            yield [self._guarded(self._handler.decide(envelope, draft), aggregate, draft)]
        elif envelope.retry_of and envelope.id == aggregate.quarantine.poison:
            yield from self._retry(aggregate, envelope, draft)
        else:
            yield [self._park(aggregate, aggregate.quarantine, envelope, draft)]

    # -- into quarantine ---------------------------------------------------------------------------

    def _guarded(self, verdict: Verdict, aggregate: Aggregate, draft: PendingCommit) -> Verdict:
        """The verdict, and the quarantine that it causes."""
        failure = verdict.failure
        if failure is not None and failure.trace and self._limits.quarantine:
            failure.quarantines = True
            envelope = verdict.envelope
            reason = QuarantineReason(failure.type, failure.message, draft.time, envelope.offset)
            self._note(verdict, aggregate, QUARANTINED, msgspec.json.encode(reason), draft)
            log.warning(
                "%s: %r goes into quarantine for its command %r: those that follow wait",
                self._handler.stream,
                envelope.aggregate_id,
                envelope.id,
            )
        return verdict

    def _park(self, aggregate: Aggregate, quarantine: Quarantine, envelope: Envelope, draft: PendingCommit) -> Verdict:
        """Let a command wait; what can be said at once is said at once."""
        repeated = self._handler.repeated(envelope, aggregate, draft)
        if repeated is not None:
            return repeated
        message = envelope.message
        assert message is not None
        try:
            check_deadline(envelope, draft.time)
            self._check_room(quarantine, message.size)
        except Failure as failure:
            return self._handler.failed(envelope, failure, draft)
        verdict = Verdict(envelope, None)
        self._note(verdict, aggregate, PARKED, pack(message), draft)
        return verdict

    def _check_room(self, quarantine: Quarantine, size: int) -> None:
        """Raise `Failure` when one more of `size` bytes cannot wait."""
        number, since = len(quarantine.waiting), quarantine.reason.since
        if number >= self._limits.quarantine_limit or quarantine.size + size > self._limits.quarantine_bytes:
            raise Failure(
                "Quarantined",
                f"the aggregate is in quarantine since {since:%Y-%m-%dT%H:%M:%SZ}, {number} commands wait, and no more"
                " can: retry or drop the dead letter that it is in quarantine for, then retry this one",
            )

    # -- out of quarantine -------------------------------------------------------------------------

    def _retry(self, aggregate: Aggregate, envelope: Envelope, draft: PendingCommit) -> Iterator[list[Verdict]]:
        """The poison command again: if the domain takes it now, whatever it says, the others go on behind it."""
        verdict = self._handler.decide(envelope, draft)
        if verdict.failure is not None and verdict.failure.trace:
            verdict.failure.quarantines = True
            yield [verdict]
        else:
            yield from self._release(aggregate, verdict, draft)

    def _control(self, aggregate: Aggregate, envelope: Envelope, draft: PendingCommit) -> Iterator[list[Verdict]]:
        handler, quarantine = self._handler, aggregate.quarantine
        repeated = handler.repeated(envelope, aggregate, draft)
        if repeated is not None:
            yield [repeated]
            return
        try:
            if envelope.type != RELEASE:
                raise Failure("UnknownCommand", f"there is no control command {envelope.type!r}; there is {RELEASE}")
            poison = _decode_release(envelope.data).command_id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Failure) as error:
            failure = error if isinstance(error, Failure) else Failure("Unreadable", f"{RELEASE}: {error}")
            yield [handler.failed(envelope, failure, draft)]
            return
        if quarantine is None:
            no = Rejected("NotQuarantined", f"{envelope.aggregate_id} is not in quarantine")
            yield [handler.rejected(envelope, no, draft)]
        elif poison not in ("", quarantine.poison):
            why = f"{envelope.aggregate_id} is in quarantine for the command {quarantine.poison}, not for {poison}"
            yield [handler.rejected(envelope, Rejected("NotQuarantined", why), draft)]
        else:
            yield from self._release(aggregate, handler.accepted(envelope, aggregate, [], draft), draft)

    def _release(self, aggregate: Aggregate, verdict: Verdict, draft: PendingCommit) -> Iterator[list[Verdict]]:
        """Settle the poison command with `verdict`, which is answered when all that wait have gone on."""
        quarantine = aggregate.quarantine
        assert quarantine is not None
        log.warning(
            "%s: %r leaves quarantine, and the %d commands that wait go on",
            self._handler.stream,
            verdict.envelope.aggregate_id,
            len(quarantine.waiting),
        )
        self._note(verdict, aggregate, RELEASED, encode_reply(verdict.reply), draft)
        if aggregate.quarantine is None:
            yield [verdict]
            return
        verdict.reply, verdict.final = None, False
        yield [verdict]
        yield from self._let_go(aggregate, verdict.envelope, draft)

    def _let_go(self, aggregate: Aggregate, asked: Envelope | None, draft: PendingCommit) -> Iterator[list[Verdict]]:
        """Decide those that wait, in order, until none is left or one makes the domain raise; then answer `asked`."""
        quarantine = aggregate.quarantine
        while quarantine is not None and quarantine is aggregate.quarantine:
            waiting = quarantine.waiting[0]
            try:
                verdict = self._handler.decide(self._envelope(waiting.message, waiting.id), draft)
            except Failure as failure:
                verdict = self._unreadable(failure, waiting.message, draft)
            verdict.final = False
            self._note(verdict, aggregate, UNPARKED, b"", draft)
            step = [self._guarded(verdict, aggregate, draft)]
            if asked is not None and quarantine is not aggregate.quarantine:
                step.append(Verdict(asked, quarantine.reply))
            yield step

    # -- parts -------------------------------------------------------------------------------------

    def _note(self, verdict: Verdict, aggregate: Aggregate, type: str, data: bytes, draft: PendingCommit) -> None:
        """Record a note with a verdict."""
        note = self._handler.row(verdict.envelope, aggregate.sequence, type, data)
        aggregate.note(note, draft.nr)
        verdict.rows.append(note)

    def _envelope(self, message: Message, id: str = "") -> Envelope:
        """Raises `Failure` with what is known of the command in its `envelope`, whatever stands in the message.

        One that brings no id has `id`, or else that of its place.
        """
        try:
            if message.unreadable:
                raise Failure("Unreadable", message.unreadable)
            envelope = read_envelope(message.key, message.value, message.headers, message.offset, message.timestamp, id)
        except Exception as error:
            failure = error if isinstance(error, Failure) else self._bug(error, message.offset)
            if not hasattr(failure, "envelope"):
                empty = Envelope(
                    id=id, type="", aggregate_id="", data=b"", content_type=JSON, offset=message.offset, time=EPOCH
                )
                failure.envelope = empty  # type: ignore[attr-defined]
            self._identify(failure.envelope, message)  # type: ignore[attr-defined]
            raise failure from None
        self._identify(envelope, message)
        envelope.message = message
        return envelope

    def _identify(self, envelope: Envelope, message: Message) -> None:
        if not envelope.id:
            # The time, too: a topic that has lost its end gives the same offsets to other commands.
            envelope.id = f"{self._topic_id}/{self._partition}/{message.offset}/{message.timestamp:.3f}"

    def _bug(self, bug: Exception, offset: int) -> Failure:
        """What is raised for one message is its own failure, though nobody has thought of it."""
        log.error("%s: the command at offset %d: %r", self._handler.stream, offset, bug, exc_info=True)
        said = domain_error(bug)
        return Failure("Unreadable", said.message, said.trace)

    def _unreadable(self, failure: Failure, message: Message, draft: PendingCommit) -> Verdict:
        """The verdict on a message that could not be read so far as to know what it is."""
        envelope: Envelope = failure.envelope  # type: ignore[attr-defined]
        envelope.message = message
        return self._handler.failed(envelope, failure, draft)


def _state(aggregate: Aggregate | None) -> tuple[object, ...]:
    """What changes when something is noted of an aggregate."""
    if aggregate is None:
        return ()
    quarantine = aggregate.quarantine
    return aggregate.nr, aggregate.sequence, quarantine, 0 if quarantine is None else len(quarantine.waiting)
