"""The exclusive owner of one command partition: epoch, fence, group commit, offset.

Every guarantee rests on one conditional write: commit nr + 1 is inserted only if it does not exist. An
owner that has been replaced finds it taken, drops its state, and answers nobody. Commands are decided in
the order of their offsets; the commit that holds their events holds their last offset too, so nothing is
done twice or left out, whatever Kafka's consumer group believes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel
from streams.deciding.admission import Admission
from streams.deciding.cache import PendingSnapshot, encoded
from streams.deciding.handler import CommandHandler, now
from streams.deciding.messages import Envelope, Failure, Message, encode_reply
from streams.deciding.verdict import PendingCommit, Verdict
from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import Commit, Fenced, Journal, Unavailable
from streams.limits import Limits
from streams.ownership.command_queue import CommandQueue
from streams.ownership.derivation import Derivation, Issue
from streams.ownership.takeover import CommandSource, check_topic, take_over

log = logging.getLogger(__name__)

TAKE_OVER_SECONDS = 15.0
"""An attempt to take over is given up after so long, and made again."""


class Replies(Protocol):
    """What an owner sends; all of it may be sent again after a crash."""

    async def dead_letters(self, partition: int, letters: Sequence[tuple[Envelope, Failure]]) -> None:
        """Keep the messages that these were read from; durable on return, whatever it takes."""

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        """Send (topic, key, value) in the background; waits while too many are on their way."""

    def hint(self, partition: int, nr: int) -> None:
        """Tell the tailer in the background that there is a commit with events."""


class Owner:
    """Owns one partition from `take_over` until it is fenced, or closed."""

    def __init__(
        self,
        stream: str,
        partition: int,
        topic_id: str,
        identity: str,
        journal: Journal,
        handler: CommandHandler,
        outbox: Replies,
        limits: Limits,
        commands: CommandSource,
        on_lost: Callable[[Owner], None],
        check_partition: Callable[[bytes], int],
        issue: Issue | None = None,
        advice: Callable[[], str] = lambda: "",
        on_waits: Callable[[Owner, Exception | None], None] = lambda owner, error: None,
    ) -> None:
        """`advice` says to who has sent to a wrong partition why that may be; empty: by another partitioner. `on_waits`
        is told what the owner waits for in the middle of a group, in which nobody is answered, and None when it goes
        on."""
        self.stream = stream
        self.partition = partition
        self.topic_id = topic_id
        self.identity = identity
        self.handler = handler
        self.head: Commit | None = None
        self.next_offset = 0
        self.healthy = False
        self.since: datetime | None = None
        self.takeover_seconds = 0.0
        self._former = "nobody"
        self.why_lost = ""
        self.lost_by: Exception | None = None
        """What ownership was lost by, where that was an exception."""
        self._journal = journal
        self._outbox = outbox
        self._limits = limits
        self._commands = commands
        self._on_lost = on_lost
        self._waits = partial(on_waits, self)
        self._gate = Admission(handler, limits, partition, topic_id, check_partition, advice)
        self._intake = CommandQueue(limits)
        self._worker: asyncio.Task[None] | None = None
        self._indexer = Derivation(stream, handler.decider.type, journal, issue, self._not_derived)

    # -- ownership ---------------------------------------------------------------------------------

    async def take_over(self) -> None:
        """Become the owner: from here on the former one cannot append. Raises `Unavailable`, `TimeoutError`, and what
        the journal raises; it may be tried again, and goes on with what was not done.

        Then redoes the derived rows that the former owner may not have written.
        """
        began = time.monotonic()
        if self.head is None:
            async with asyncio.timeout(TAKE_OVER_SECONDS):
                old, self.head = await take_over(
                    self._journal, self._commands, self.stream, self.topic_id, self.identity
                )
            self._former = f"{old.owner} (epoch {old.epoch})" if old else "nobody"
        commit = self.head
        self.next_offset = commit.offset + 1
        await self._indexer.repair(commit)
        self.healthy = True
        self.since, self.takeover_seconds = commit.recorded_at, time.monotonic() - began
        log.warning(
            "%s: taken over from %s: epoch %d at commit %d, next command offset %d, in %.0f ms",
            self.stream,
            self._former,
            commit.epoch,
            commit.nr,
            self.next_offset,
            self.takeover_seconds * 1e3,
        )

    def resume(self) -> None:
        """Serve (again), from the command after the last one committed."""
        assert self.head is not None
        self.next_offset = self.head.offset + 1
        self._intake.open()
        self._worker = asyncio.create_task(self._work(), name=f"owner {self.stream}")
        self._indexer.start()

    async def suspend(self, seconds: float) -> None:
        """Finish the group in work and let go of the rest: it is delivered again, here or elsewhere.

        An owner that does not finish within `seconds` has no known head any more, and is not healthy.
        """
        self._intake.close()
        worker = self._worker
        if worker is None:
            return
        _, pending = await asyncio.wait({worker}, timeout=seconds)
        if pending:
            self.healthy = False
            log.warning("%s: given up: in the middle of a group, since the journal does not answer", self.stream)
            await cancel(worker)
        self._worker = None  # and not before: whoever is cut short here leaves it to the next one who ends it

    async def close(self, seconds: float = 1.5, why: str = "this worker stops") -> None:
        """Serve no more. Derived rows that are not written by then are the next owner's to repair.

        Says why, unless it has been lost before, which was said then.
        """
        await self.suspend(seconds)
        if self.healthy:
            log.warning("%s: given up: %s", self.stream, why)
        self.healthy = False
        await self._indexer.close(seconds)

    @property
    def can_go_on(self) -> bool:
        """Whether it owns its partition, as far as it knows, or has begun to: then `take_over` is to be ended. One that
        was lost does not come back, and one whose first append had no answer keeps its name for itself."""
        return self.head is not None and (self.healthy or self.since is None)

    def _lose(self, why: str, error: Exception | None = None) -> None:
        """Decide nothing any more. The trace of a bug is for `on_lost` to say: it may be the same again and again."""
        if not self.healthy:
            return
        self.healthy = False
        self.why_lost, self.lost_by = why, error
        self._intake.close()
        log.warning("%s: given up: %s", self.stream, why)
        self._on_lost(self)

    def fail(self, error: Exception) -> None:
        """Give the partition up for what was raised while somebody was at work for it."""
        self._lose(f"the owner failed, and begins anew: {type(error).__name__}: {error}", error)

    def _not_derived(self, error: Exception) -> None:
        self._lose(f"what follows from its commits cannot be written: {type(error).__name__}: {error}", error)

    @property
    def derived_nr(self) -> int:
        """The newest commit up to which all are in the derived rows, as far as this owner knows."""
        return self._indexer.derived_nr

    @property
    def covered(self) -> int:
        """The offset behind the last command that a commit covers."""
        return self.head.offset + 1 if self.head is not None else 0

    @property
    def queued(self) -> tuple[int, int]:
        """Commands that wait for a commit, and the bytes of their messages."""
        return len(self._intake), self._intake.bytes

    # -- intake ------------------------------------------------------------------------------------

    async def deliver(self, message: Message) -> None:
        """Take the next message of the partition; waits while the queue is full.

        Offsets must follow one another. One seen before is left out. A gap is legal only where Kafka itself
        has none to give (transaction markers, retention); where messages were lost on the way, ownership
        begins anew.
        """
        await self._intake.room()
        # Looking into a gap takes time, in which a rebalance may have moved the place to go on from.
        while self._intake.is_open and message.offset > (due := self.next_offset):
            if await self._commands.gap_is_empty(due, message.offset):
                if due == self.next_offset:
                    break
            elif self._intake.is_open and due == self.next_offset:
                self._lose(f"offset {message.offset} came where {due} was due: reading again from there")
        if self._intake.is_open and message.offset >= self.next_offset:
            self.next_offset = message.offset + 1
            self._intake.put(message)

    async def look_back(self) -> None:
        """The consumer has started over by itself, as it does when Kafka no longer has the offset that is due.

        Where the topic has become shorter than what was read of it, ownership begins anew, at its end.
        """
        due = self.next_offset
        end = await until_it_answers(self._commands.end, f"{self.stream}: looking for the end", Unavailable)
        if not self._intake.is_open:
            return
        if end < due:
            self._lose(f"the command topic ends before offset {end}, and {due} was due: Kafka has lost commands")
        else:
            log.error(
                "%s: Kafka had lost commands before offset %d, and new ones have taken their places: those are "
                "skipped. Whoever got no reply sends again; look at the brokers",
                self.stream,
                due,
            )

    # -- group commit ------------------------------------------------------------------------------

    async def _work(self) -> None:
        was_busy = confirmed = False
        try:
            while group := await self._intake.group(was_busy):
                was_busy = len(group) > 1
                if not confirmed:
                    # Kafka is asked for messages by the topic's name: these may be of a newer one.
                    await check_topic(self._commands, self.stream, self.topic_id)
                    confirmed = True
                self._intake.put_back(await self._process(group))
        except Fenced as fenced:
            self._lose(f"fenced, another owner has taken over: {fenced}", fenced)
        except Unavailable as error:
            self._lose(f"begins anew: {error}", error)
        except Exception as error:
            self.fail(error)

    async def _process(self, group: list[Message]) -> list[Message]:
        """Decide, commit, answer. Returns the end of the group when it would have made the commit too large."""
        assert self.head is not None
        draft = PendingCommit(self.head.nr + 1, self.head.eventful_nr, now())
        read = [self._gate.read(message, draft) for message in group]
        ids = [item.aggregate_id for item in read if isinstance(item, Envelope)]
        await until_it_answers(
            lambda: self.handler.load(ids),
            f"{self.stream}: loading aggregates",
            (Unavailable, NotReadableYet),
            self._waits,
        )
        verdicts, covered = self._decide(read, draft)
        done, rest = group[:covered], group[covered:]
        letters = [(verdict.envelope, verdict.failure) for verdict in verdicts if verdict.failure is not None]
        if letters:
            await self._outbox.dead_letters(self.partition, letters)
        commit = Commit(
            self.stream,
            draft.nr,
            self.head.epoch,
            self.identity,
            self.topic_id,
            done[-1].offset if done else self.head.offset,
            self._indexer.derived_nr,
            draft.eventful_nr,
            draft.time,
            tuple(row for verdict in verdicts for row in verdict.rows),
        )
        snapshots = self._due_snapshots(commit.nr)
        derived = await until_it_answers(
            lambda: self._journal.append(commit, lambda: encoded(snapshots)),
            f"{self.stream}: appending commit {commit.nr}",
            Unavailable,
            self._waits,
        )
        self._committed(commit)
        await self._outbox.replies(self._replies(verdicts))
        await self._indexer.put(commit, snapshots, derived)
        return rest

    def _decide(self, read: Sequence[Envelope | Verdict], draft: PendingCommit) -> tuple[list[Verdict], int]:
        """The verdicts on as many commands as fit into a commit, and how many of them are done with.

        The last one begun is not when it is a release that goes on in the next commit.
        """
        verdicts: list[Verdict] = []
        covered = size = 0
        for item in read:
            for step in [[item]] if isinstance(item, Verdict) else self._gate.steps(item, draft):
                verdicts += step
                for verdict in step:
                    for row in verdict.rows:
                        size += row.size
                full = size >= self._limits.group_bytes or len(verdicts) >= self._limits.group_commands
                if full:
                    break
            covered += verdicts[-1].final
            if full:
                break
        return verdicts, covered

    def _due_snapshots(self, nr: int) -> list[PendingSnapshot]:
        """Of the aggregates that commit `nr` touches, as they are after it."""
        return [
            aggregate.capture(aggregate_id, self.handler.decider)
            for aggregate_id, aggregate in self.handler.touched.items()
            if aggregate.nr == nr and aggregate.wants_snapshot(self._limits.snapshot_every)
        ]

    def _committed(self, commit: Commit) -> None:
        """The commit is durable: go on from it."""
        self.head = commit
        self.handler.settle(self._indexer.derived_nr)
        if commit.eventful_nr == commit.nr:
            self._outbox.hint(self.partition, commit.nr)

    def _replies(self, verdicts: Sequence[Verdict]) -> list[tuple[str, str, bytes]]:
        return [
            (envelope.reply_to, envelope.correlation_id or envelope.id, encode_reply(verdict.reply))
            for verdict in verdicts
            if verdict.reply is not None and (envelope := verdict.envelope).reply_to
        ]
