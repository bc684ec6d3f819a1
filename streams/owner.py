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
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from streams.cache import PendingSnapshot
from streams.handler import Handler, Held, Verdict, now
from streams.indexer import Indexer, cancel
from streams.journal import NOTHING_CONSUMED, Commit, Fenced, Journal, Unavailable
from streams.messages import Envelope, Failure, Headers, encode_reply, read_envelope
from streams.retry import until_it_answers

log = logging.getLogger(__name__)

QUEUE_BYTES = 4 * 1024 * 1024


class Delivery(msgspec.Struct, gc=False):
    """A message of the command topic as the consumer delivered it; `ack` when a commit covers it, else `discard`."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: float
    ack: Callable[[], object]
    discard: Callable[[], object]

    @property
    def size(self) -> int:
        """Bytes of the value."""
        return len(self.value) if self.value else 0


class Outbox(Protocol):
    """What an owner sends; all of it may be sent again after a crash."""

    async def dead_letters(self, partition: int, letters: Sequence[tuple[Delivery, Failure]]) -> None:
        """Keep these; durable on return, whatever it takes."""

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        """Send (topic, key, value) in the background; waits while too many are on their way."""

    def hint(self, partition: int, nr: int) -> None:
        """Tell the tailer in the background that there is a commit with events."""


class Limits(msgspec.Struct, frozen=True):
    """Bounds of a group: commands, bytes of events, seconds of waiting for company; events between snapshots."""

    commands: int = 500
    bytes: int = 512 * 1024
    linger: float = 0.005
    snapshot_every: int = 100


class Owner:
    """Owns one partition from `take_over` until it is fenced, or closed."""

    def __init__(
        self,
        stream: str,
        partition: int,
        topic_id: str,
        identity: str,
        journal: Journal,
        handler: Handler,
        outbox: Outbox,
        limits: Limits,
        gap_is_empty: Callable[[int, int], Awaitable[bool]],
        topic_id_now: Callable[[], Awaitable[str]],
        on_lost: Callable[[Owner], None],
        check_partition: Callable[[bytes], int],
    ) -> None:
        self.stream = stream
        self.partition = partition
        self.topic_id = topic_id
        self.identity = identity
        self.handler = handler
        self.head: Commit | None = None
        self.next_offset = 0
        self.healthy = False
        self._journal = journal
        self._outbox = outbox
        self._limits = limits
        self._gap_is_empty = gap_is_empty
        self._topic_id_now = topic_id_now
        self._on_lost = on_lost
        self._check_partition = check_partition
        self._queue: deque[Delivery] = deque()
        self._queue_bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._serving = False
        self._worker: asyncio.Task[None] | None = None
        self._indexer = Indexer(stream, handler.decider.type, journal)

    # -- ownership ---------------------------------------------------------------------------------

    async def take_over(self) -> None:
        """Become the owner: from here on the former one cannot append. Raises `Unavailable`.

        Reads the head, appends an empty commit with the next epoch, and starts again when somebody else
        was faster. Then redoes the derived rows that the former owner may not have written.
        """
        began = time.monotonic()
        while True:
            old = await self._journal.head(self.stream)
            if old is not None and old.topic_id != self.topic_id:
                await self._check_topic()
            commit = self._first_commit(old)
            try:
                await self._journal.append(commit)
                break
            except Fenced:
                continue
        self.head = commit
        self.next_offset = commit.offset + 1
        await self._indexer.repair(commit)
        self.healthy = True
        log.warning(
            "%s: taken over from %s: epoch %d at commit %d, next command offset %d, in %.0f ms",
            self.stream,
            f"{old.owner} (epoch {old.epoch})" if old else "nobody",
            commit.epoch,
            commit.nr,
            self.next_offset,
            (time.monotonic() - began) * 1e3,
        )

    async def _check_topic(self) -> None:
        """Raise `Unavailable` when the topic has been made again since this owner learned of it.

        Topic ids have no order, but who looks after reading from the log, or the topic, sees none that is older.
        """
        topic_id = await self._topic_id_now()
        if topic_id != self.topic_id:
            raise Unavailable(f"{self.stream}: the command topic has been made again: {topic_id}, not {self.topic_id}")

    def _first_commit(self, old: Commit | None) -> Commit:
        if old is None:
            return Commit(self.stream, 1, 1, self.identity, self.topic_id, NOTHING_CONSUMED, 0, 0, now())
        offset = old.offset
        if old.topic_id != self.topic_id:
            if offset != NOTHING_CONSUMED:
                log.warning(
                    "%s: the command topic was deleted and made again since offset %d: starting at its beginning",
                    self.stream,
                    offset,
                )
            offset = NOTHING_CONSUMED
        return msgspec.structs.replace(
            old,
            nr=old.nr + 1,
            epoch=old.epoch + 1,
            owner=self.identity,
            topic_id=self.topic_id,
            offset=offset,
            recorded_at=now(),
            events=(),
        )

    def resume(self) -> None:
        """Serve (again), from the command after the last one committed."""
        assert self.head is not None
        self.next_offset = self.head.offset + 1
        self._serving = True
        self._worker = asyncio.create_task(self._work(), name=f"owner {self.stream}")
        self._indexer.start()

    async def suspend(self, seconds: float) -> None:
        """Finish the group in work and let go of the rest: it is delivered again, here or elsewhere.

        An owner that does not finish within `seconds` has no known head any more, and is not healthy.
        """
        self._serving = False
        self._drop_queue()
        self._arrived.set()
        self._room.set()
        worker, self._worker = self._worker, None
        if worker is None:
            return
        _, pending = await asyncio.wait({worker}, timeout=seconds)
        if pending:
            self.healthy = False
            log.warning("%s: let go in the middle of a group: the journal does not answer", self.stream)
            await cancel(worker)
        self._drop_queue()

    async def close(self, seconds: float = 1.5) -> None:
        """Serve no more. Derived rows that are not written by then are the next owner's to repair."""
        await self.suspend(seconds)
        self.healthy = False
        await self._indexer.close(seconds)

    def _drop_queue(self) -> None:
        while self._queue:
            self._queue.popleft().discard()
        self._queue_bytes = 0

    def _lose(self, why: str) -> None:
        self._serving = self.healthy = False
        self._drop_queue()
        self._room.set()
        log.warning("%s: %s", self.stream, why)
        self._on_lost(self)

    # -- intake ------------------------------------------------------------------------------------

    async def deliver(self, delivery: Delivery) -> None:
        """Take the next message of the partition; waits while the queue is full.

        Offsets must follow one another. One seen before is discarded. A gap is legal only where Kafka itself
        has none to give (transaction markers, retention); where messages were lost on the way, ownership
        begins anew.
        """
        while self._serving and (len(self._queue) >= self._limits.commands or self._queue_bytes >= QUEUE_BYTES):
            self._room.clear()
            await self._room.wait()
        # Looking into a gap takes time, in which a rebalance may have moved the place to go on from.
        while self._serving and delivery.offset > (due := self.next_offset):
            if await self._gap_is_empty(due, delivery.offset):
                if due == self.next_offset:
                    break
            elif self._serving and due == self.next_offset:
                self._lose(f"offset {delivery.offset} came where {due} was due: reading again from there")
        if not self._serving or delivery.offset < self.next_offset:
            delivery.discard()
            return
        self.next_offset = delivery.offset + 1
        self._queue.append(delivery)
        self._queue_bytes += delivery.size
        self._arrived.set()

    async def _gather(self, was_busy: bool) -> list[Delivery]:
        while not self._queue:
            if not self._serving:
                return []
            self._arrived.clear()
            await self._arrived.wait()
            was_busy = was_busy and bool(self._queue)
        # One command alone is not kept waiting; where many come, a few milliseconds bring more to share the commit.
        if was_busy and len(self._queue) < self._limits.commands:
            await asyncio.sleep(self._limits.linger)
        group: list[Delivery] = []
        while self._queue and len(group) < self._limits.commands:
            group.append(self._queue.popleft())
        self._queue_bytes = sum(delivery.size for delivery in self._queue)
        self._room.set()  # the next group arrives while this one is committed
        return group

    # -- group commit ------------------------------------------------------------------------------

    async def _work(self) -> None:
        was_busy = confirmed = False
        try:
            while self._serving:
                group = await self._gather(was_busy)
                if group:
                    was_busy = len(group) > 1
                    try:
                        if not confirmed:
                            # Kafka is asked for messages by the topic's name: these may be of a newer one.
                            await self._check_topic()
                            confirmed = True
                        rest = await self._process(group)
                    except BaseException:
                        # Whoever waits until all that was delivered is done must not wait for these.
                        for delivery in group:
                            delivery.discard()
                        raise
                    self._queue.extendleft(reversed(rest))
                self._room.set()
        except Fenced as fenced:
            self._lose(f"fenced, another owner has taken over: {fenced}")
        except Unavailable as error:
            self._lose(f"begins anew: {error}")
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s: the owner failed, and begins anew", self.stream)
            self._lose("begins anew")

    async def _process(self, group: list[Delivery]) -> list[Delivery]:
        """Decide, commit, answer. Returns the end of the group when it would have made the commit too large."""
        assert self.head is not None
        handler, nr = self.handler, self.head.nr + 1
        read = [self._read(delivery, self.head.eventful_nr) for delivery in group]
        ids = [item.aggregate_id for item in read if isinstance(item, Envelope)]
        await until_it_answers(lambda: handler.load(ids), f"{self.stream}: loading aggregates", (Unavailable, Held))
        verdicts: list[Verdict] = []
        events = []
        size, eventful_nr, time_now = 0, self.head.eventful_nr, now()
        for item in read:
            verdict = item if isinstance(item, Verdict) else handler.decide(item, nr, eventful_nr, time_now)
            verdicts.append(verdict)
            if verdict.rows:
                events.extend(verdict.rows)
                if verdict.rows[0].is_event:
                    eventful_nr = nr
                size += sum(len(row.data) for row in verdict.rows)
                if size >= self._limits.bytes:
                    break
        done, rest = group[: len(verdicts)], group[len(verdicts) :]
        letters = [
            (delivery, Failure(verdict.reply.error.type, verdict.reply.error.message))
            for delivery, verdict in zip(done, verdicts, strict=True)
            if verdict.reply.status == "failed" and verdict.reply.error
        ]
        if letters:
            await self._outbox.dead_letters(self.partition, letters)
        commit = Commit(
            self.stream,
            nr,
            self.head.epoch,
            self.identity,
            self.topic_id,
            done[-1].offset,
            self._indexer.indexed_nr,
            eventful_nr,
            time_now,
            tuple(events),
        )
        snapshots = self._due_snapshots(nr)
        derived = await until_it_answers(
            lambda: self._journal.append(commit, lambda: [pending.encode() for pending in snapshots]),
            f"{self.stream}: appending commit {nr}",
            Unavailable,
        )
        self._committed(commit)
        await self._outbox.replies(self._replies(verdicts))
        for delivery in done:
            delivery.ack()
        if derived:
            self._indexer.indexed_nr = nr
        else:
            await self._indexer.put(commit, snapshots)
        return rest

    def _read(self, delivery: Delivery, eventful_nr: int) -> Envelope | Verdict:
        default_id = f"{self.topic_id}/{self.partition}/{delivery.offset}"
        try:
            envelope = read_envelope(
                delivery.key, delivery.value, delivery.headers, delivery.offset, delivery.timestamp, default_id
            )
            if envelope.aggregate_id not in self.handler.cache and delivery.key:
                right = self._check_partition(delivery.key)
                if right != self.partition:
                    failure = Failure(
                        "WrongPartition",
                        f"key {envelope.aggregate_id!r} belongs to partition {right}, not {self.partition}: "
                        "use the murmur2 partitioner (librdkafka: partitioner=murmur2_random)",
                    )
                    return self.handler.failed(envelope, failure, eventful_nr)
            return envelope
        except Failure as failure:
            return self.handler.failed(failure.envelope, failure, eventful_nr)  # type: ignore[attr-defined]

    def _due_snapshots(self, nr: int) -> list[PendingSnapshot]:
        """Of the aggregates that commit `nr` touches, as they are after it."""
        return [
            aggregate.capture(aggregate_id, self.handler.decider.state_version)
            for aggregate_id, aggregate in self.handler.touched.items()
            if aggregate.nr == nr and aggregate.wants_snapshot(self._limits.snapshot_every)
        ]

    def _committed(self, commit: Commit) -> None:
        """The commit is durable: go on from it."""
        self.head = commit
        self.handler.settle(self._indexer.indexed_nr)
        if commit.eventful_nr == commit.nr:
            self._outbox.hint(self.partition, commit.nr)

    def _replies(self, verdicts: Sequence[Verdict]) -> list[tuple[str, str, bytes]]:
        return [
            (envelope.reply_to, envelope.correlation_id or envelope.id, encode_reply(verdict.reply))
            for verdict in verdicts
            if (envelope := verdict.envelope).reply_to
        ]
