"""The exclusive owner of one log of commits: epoch, fence, group commit, offset.

Every guarantee rests on one conditional write: commit nr + 1 is inserted only if it does not exist. An owner that has
been replaced finds it taken, drops its state, and answers nobody. The commands of a slice are decided in the order of
their offsets. The commit that holds their events holds the last offset of each slice too, so nothing is done twice or
left out, whatever Kafka's consumer group believes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel
from streams.deciding.cache import Cache, encode_snapshots
from streams.deciding.decided_group import HeldCommand
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, Fenced, Journal, SliceHead, Unavailable
from streams.kafka.command_slices import CommandSlices
from streams.moments import now
from streams.notices import NOTICES, Kind
from streams.observability.instruments import Instruments
from streams.observability.owner_metrics import OwnerMetrics
from streams.observability.owner_traces import OwnerTraces, Stages
from streams.ownership.derivation import Derivation, Dispatch
from streams.ownership.follower import LogFollower
from streams.ownership.held_slices import CommandSource, HeldSlices
from streams.ownership.intake.command_queue import CommandQueue
from streams.ownership.intake.partition_intake import CommandsMissing, PartitionIntake
from streams.ownership.replies import Replies
from streams.ownership.takeover import check_topic, take_over
from streams.ownership.waiting import WaitingLog

log = logging.getLogger(__name__)

TAKE_OVER_SECONDS = 15.0
"""An attempt to take over is given up after so many seconds, and made again."""
SEAL_SECONDS = 2.0
"""A log that is to end, and cannot be derived, is shown after so many seconds."""
CLOSE_SECONDS = 1.5
"""So long, in seconds, may the commits that are not derived yet keep an owner that ends."""


class Owner:
    """Owns one log, which `span` describes and `parents` precede, from `take_over` until it is lost or closed.

    `open` has it take messages, and `run` decides them until `stop` or a loss ends it; both may be called again after a
    `stop`, for the owner stays the owner over a rebalance. A slice whose commands cannot be decided yet is `held`: they
    are not taken meanwhile, and the others go on.
    """

    def __init__(
        self,
        *,
        span: LogSpan,
        parents: Sequence[LogSpan] = (),
        topic_id: str,
        identity: str,
        journal: Journal,
        handler: GroupHandler,
        replies: Replies,
        commands: CommandSlices,
        waiting: WaitingLog,
        dispatch: Dispatch | None = None,
        follower: LogFollower | None = None,
        metrics: OwnerMetrics | None = None,
        traces: OwnerTraces | None = None,
    ) -> None:
        self.span = span
        self.log = handler.log
        self.topic_id = topic_id
        self.identity = identity
        self.handler = handler
        self.head: Commit | None = None
        """The newest commit, of this owner or, just after its first append, the beginning of its epoch."""
        self.since: datetime | None = None
        """When it took over; None before."""
        self.takeover_seconds = 0.0
        self.former = ""
        """Who had the log before; empty where nobody had, or as long as that is not known."""
        self.former_at: datetime | None = None
        """The time of his last commit."""
        self._former = "nobody"
        self.is_first = False
        """Whether nobody has had the log before it."""
        self.lost: Exception | None = None
        """The reason for which ownership was lost."""
        self.why_lost = ""
        self.queue = CommandQueue(handler.limits)
        self.intakes = {slice: PartitionIntake(self.log, slice, commands, self.queue) for slice in span.slices}
        self.held = HeldSlices(waiting)
        self.derivation = Derivation(self.log, handler.decider.type, journal, dispatch)
        handler.cache.follow(lambda: self.derivation.derived_nr)
        self._parents = parents
        self._hinted: Commit | None = None
        """The newest one of this owner that has events: hints name the one before."""
        self._ended = False
        self._journal = journal
        self._replies = replies
        self._commands = commands
        self._waiting = waiting
        self._source: CommandSource | None = None
        self._follower = follower or LogFollower()
        self._metrics = metrics or OwnerMetrics(Instruments(), handler.decider.type)
        self._traces = traces
        self._deriving: asyncio.Task[None] | None = None

    # -- ownership ---------------------------------------------------------------------------------

    @property
    def is_owner(self) -> bool:
        """Whether it has taken over and, as far as it knows, owns the log."""
        return self.since is not None and not self._ended

    @property
    def can_go_on(self) -> bool:
        """Whether it is the owner, or has begun to be: then `take_over` is to be ended.

        One that was lost does not come back. One whose first append had no answer is not used again either: that
        append may stand in the journal, and the fence tells owners apart by their identity.
        """
        return self.head is not None and not self._ended

    @property
    def slices(self) -> tuple[int, ...]:
        """The slices of the log."""
        return self.span.slices

    @property
    def covered(self) -> Mapping[int, int]:
        """The offset behind the last command that a commit covers, by slice; empty as long as it owns nothing."""
        return _next_offsets(self.head.slices) if self.head is not None else {}

    async def take_over(
        self, known: Sequence[Cache] = (), inherits: Callable[[Mapping[int, int]], None] = lambda offsets: None
    ) -> None:
        """Become the owner: from here on the former one cannot append. Raises `Unavailable`, `TimeoutError`,
        `LogSealed`, and the errors of the journal; may be tried again, and then goes on with the rest.

        `inherits` is told early from which offsets a log goes on that has parents, if nobody has had it before; `known`
        are the caches of these parents.

        Then derives the commits that the former owner may not have derived.
        """
        began = time.monotonic()
        if self.head is None:
            self.handler.cache.go_on_from(known)
            async with asyncio.timeout(TAKE_OVER_SECONDS):
                old, self.head = await take_over(
                    self._journal,
                    self._commands,
                    self.log,
                    self.span,
                    self.topic_id,
                    self.identity,
                    self._parents,
                    lambda slices: inherits(_next_offsets(slices)),
                )
            self.is_first = old is None
            if old is not None:
                self.former, self.former_at = old.owner, old.recorded_at
                self._former = f"{old.owner} (epoch {old.epoch})"
        commit = self.head
        await self.derivation.repair(commit)
        if not self.is_first:  # here, since what was loaded before lacks what was not derived, be it in another attempt
            self.forget()
        self.since, self.takeover_seconds = commit.recorded_at, time.monotonic() - began
        log.info(
            "%s: taken over from %s: epoch %d at commit %d, in %.0f ms; next command offsets: %s",
            self.log,
            self._former,
            commit.epoch,
            commit.nr,
            self.takeover_seconds * 1e3,
            ", ".join(f"{slice}:{offset}" for slice, offset in self.covered.items()),
        )
        self._metrics.taken_over(self.takeover_seconds)
        self._follower.taken(commit)
        # A former owner may have died before it told of its last commit; a tail that reads this one finds it.
        self._replies.hint(self.span.seat, commit)

    async def warm(self, messages: Iterable[Message]) -> None:
        """Load the aggregates of commands that are to come. Right before `open`, and where nobody has had the log."""
        await self.handler.warm(messages, self.span.begins_after)

    def forget(self) -> None:
        """Another owner may have changed what was loaded or known."""
        self.handler.cache.clear()

    def open(self, source: CommandSource) -> None:
        """Take messages, which `source` brings, of each slice from the command after the last one committed. Does
        nothing once the log is lost."""
        if self.is_owner:
            self._source = source
            for slice, offset in self.covered.items():
                self.intakes[slice].open(offset)
            self.queue.open()

    async def deliver(self, slice: int, messages: Iterable[Message]) -> None:
        """Queue messages of a slice that were read together; waits while the queue is full. An error ends ownership."""
        try:
            await self.intakes[slice].deliver(messages)
        except Exception as error:
            self.lose(error)

    def went_back(self, slice: int) -> None:
        """The consumer has started over, since Kafka no longer has the offset of the slice that is due."""
        self.intakes[slice].went_back()

    async def run(self) -> Exception | None:
        """Decide commands until ownership is lost, and return the reason; None where `stop` has ended it.

        Ownership ends too when this is cancelled in the middle of a group: its commit may stand in the journal or not.
        """
        if self._deriving is None:
            self._deriving = asyncio.create_task(self._derive(), name=f"deriving {self.log}")
        try:
            await self._decide_groups()
        except asyncio.CancelledError:
            self._cut_off("a group")
            raise
        except Exception as error:
            self.lose(error)
        finally:
            self.held.end()
        return self.lost

    def stop(self) -> None:
        """Have `run` return when the group in work is done; the commands that wait are delivered again, here or
        elsewhere."""
        self.queue.close()

    async def seal(self) -> int:
        """End the log, when `run` has returned: all is derived, then its last commit appended. Returns its number.

        Waits for a journal that does not answer. Ownership ends too when this is cancelled in the middle of the append:
        the seal may stand in the journal or not. Raises `Fenced`."""
        await self.derivation.finish(SEAL_SECONDS)
        if self.derivation.has_pending:
            self._waiting.begin(Unavailable("what its commits cause cannot be written: it is not sealed before"))
            await self.derivation.finish(None)
            self._waiting.end()
        head = self.head
        assert head is not None
        if self.derivation.derived_nr < head.nr:
            raise Unavailable(f"{self.log}: commit {head.nr} is not derived")
        seal = replace(
            head, nr=head.nr + 1, derived_nr=head.nr, recorded_at=now(), owner=self.identity, events=(), is_seal=True
        )
        action = f"{self.log}: appending the seal"
        try:
            await until_it_answers(lambda: self._journal.append(seal), action, Unavailable)
        except asyncio.CancelledError:
            self._cut_off("the seal")
            raise
        self.head = seal
        self._follower.committed(seal)
        self._replies.hint(self.span.seat, seal)
        self._end(f"sealed by commit {seal.nr}: others go on from it", logging.INFO)
        return seal.nr

    def lose(self, error: Exception, reason: str = "") -> None:
        """Decide nothing any more. The trace of a bug is not logged here: the same may end one owner after another."""
        if not self._ended:
            self.lost, self.why_lost = error, reason or _reason(error)
            self._metrics.lost(error)
            if not isinstance(error, Unavailable):
                kind: Kind = "fenced" if isinstance(error, Fenced) else "owner-failed"
                NOTICES.note(kind, self.log, f"{self.log}: given up: {self.why_lost}")
            self._end(self.why_lost)

    async def close(self, seconds: float = CLOSE_SECONDS, why: str = "this worker stops") -> None:
        """End ownership, when `run` has returned. Commits that are not derived after `seconds` are the next owner's to
        repair."""
        if self.is_owner:
            self._end(why, logging.INFO)
        self._ended = True
        if self._deriving is not None:
            try:
                await self.derivation.finish(seconds)
            finally:
                await cancel(self._deriving)
            self._deriving = None  # and not before: a caller that is cancelled here leaves the rest to the next one
        if self.head is None or not self.head.is_seal:  # else who goes on from the log may go on with it
            self.handler.cache.close()

    def _cut_off(self, where: str) -> None:
        """End ownership: what is on its way may stand in the journal or not."""
        if not self._ended:
            self._end(f"in the middle of {where}, since the journal does not answer")

    def _end(self, why: str, level: int = logging.WARNING) -> None:
        self._ended = True
        self._follower.lost()
        self.queue.close()
        log.log(level, "%s: given up: %s", self.log, why)

    async def _derive(self) -> None:
        try:
            await self.derivation.run()
        except Exception as error:
            self.lose(error, f"what follows from its commits cannot be written: {type(error).__name__}: {error}")

    def _waits(self, error: Exception | None) -> None:
        """Note what the group in work waits for, in which nobody is answered; None: it goes on."""
        if not self.queue.is_open:
            return
        if error is not None:
            self._waiting.begin(error, reason=str(error))
        else:
            self._waiting.end()

    # -- slices that are held ----------------------------------------------------------------------

    def _hold(self, slice: int, command: HeldCommand) -> None:
        """Take nothing of a slice until a command of it can be decided."""
        assert self._source is not None
        self.intakes[slice].hold(command.offset)
        self._source.hold(slice)
        self.held.hold(slice, command.reason, lambda: self.handler.look(command.aggregate_id), self._go_on)

    def _go_on(self, slice: int) -> None:
        """Take the commands of a slice again, from the one for which it was held."""
        assert self._source is not None
        intake = self.intakes[slice]
        intake.open(intake.next_offset)
        self._source.go_on(slice, intake.next_offset)

    # -- group commit ------------------------------------------------------------------------------

    async def _decide_groups(self) -> None:
        is_checked = False
        while self.queue.is_open:
            for intake in self.intakes.values():
                await intake.check_end()
            messages = await self.queue.group()
            if not messages:
                continue
            if not is_checked:
                # Kafka is asked for messages by the topic's name: these may be of a newer one.
                await check_topic(self._commands, self.log, self.topic_id)
                is_checked = True
            await self._commit_group(messages)

    async def _commit_group(self, messages: list[Message]) -> None:
        """Decide, append, answer, derive. What the commit had no room for is left for the next group."""
        head = self.head
        assert head is not None
        group = await self.handler.decide_group(messages, head, self._waits)
        decided = time.monotonic()
        self._metrics.decided(group)
        for slice, command in group.held.items():
            self._hold(slice, command)
        rest = [message for message in messages[group.done :] if message.partition not in group.held]
        if not group.verdicts:
            self.handler.settle(self.derivation.derived_nr)
            self.queue.put_back(rest)
            return
        if letters := group.dead_letters:
            await self._replies.dead_letters(letters)
        if group.dropped:  # before the commit: who takes over finds the order again, and a marker may be there twice
            await self._replies.drop(group.dropped)
        commit = Commit(
            log=self.log,
            nr=group.nr,
            epoch=head.epoch,
            owner=self.identity,
            topic_id=self.topic_id,
            slices=group.slices,
            derived_nr=self.derivation.derived_nr,
            recorded_at=group.time,
            events=group.events,
        )
        snapshots = encode_snapshots(group.snapshots) if self._journal.is_transactional else ()
        began = time.monotonic()
        await until_it_answers(
            lambda: self._journal.append(commit, snapshots),
            f"{self.log}: appending commit {commit.nr}",
            Unavailable,
            self._waits,
        )
        written = time.monotonic()
        self.head = commit
        self._follower.committed(commit)
        self.handler.settle(self.derivation.derived_nr)
        if commit.eventful_nr == commit.nr:
            self._replies.hint(self.span.seat, commit, self._hinted or head)
            self._hinted = commit
        await self._replies.replies(group.replies)
        self._metrics.committed(group, written - began)
        if self._traces is not None:
            self._traces.committed(group, Stages(decided, began, written, time.monotonic()))
        await self.derivation.put(commit, group.snapshots)
        self.queue.put_back(rest)


def _next_offsets(slices: Mapping[int, SliceHead]) -> Mapping[int, int]:
    return {slice: head.offset + 1 for slice, head in slices.items()}


def _reason(error: Exception) -> str:
    match error:
        case CommandsMissing():
            return str(error)
        case Fenced():
            return f"fenced, another owner has taken over: {error}"
        case Unavailable():
            return f"begins anew: {error}"
        case _:
            return f"the owner failed, and begins anew: {type(error).__name__}: {error}"
