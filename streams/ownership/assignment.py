"""Which partitions of a command topic this worker owns: one task for each, from assignment to revocation.

The task takes over, has the consumer go on from where the journal says, and waits until ownership is lost; then it
begins again, with growing pauses. So the trouble of one partition is its own: no other one waits for it, neither in
this worker nor, by a rebalance, in the others of its group.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import cancel
from streams.deciding.messages import Message
from streams.journal.port import Fenced, Unavailable, stream_name
from streams.kafka.topic_metadata import TopicMetadata
from streams.ownership.owner import TAKE_OVER_SECONDS, Owner
from streams.ownership.waiting import WaitingStreams

GRACE_SECONDS = 1.0
"""Takeovers that are as quick as usual are waited for after a rebalance: Faust's seek takes all of them along. The
others have the consumer go on from their place by themselves."""
WIND_UP_SECONDS = 1.5
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Between two attempts to take over, in seconds: each is twice as long as the one before."""
CALM_SECONDS = 10.0
"""An owner that has served for so long, in seconds, may be lost without a longer pause."""


async def _at_once() -> None:
    pass


class Assignment:
    """The owners of one aggregate type in this worker.

    `new_owner(partition, topic_id, partitions_here)` makes one, `describe()` asks the broker for the command topic, and
    `seek(partition, offset)` has the consumer go on from there. `confirmed()` returns when the consumer group has said,
    after the call, that this worker is one of its members. A partition that waits is among the troubles of
    `supervisor`, by the name of its stream, with the reason.
    """

    def __init__(
        self,
        type: str,
        new_owner: Callable[[int, str, int], Owner],
        describe: Callable[[], Awaitable[TopicMetadata | None]],
        seek: Callable[[int, int], Awaitable[None]],
        supervisor: Supervisor | None = None,
        confirmed: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self.owners: dict[int, Owner] = {}
        """By partition: those that serve, those that stand still during a rebalance, and those about to take over."""
        self.assigned: set[int] = set()
        self._type = type
        self._new_owner = new_owner
        self._describe = describe
        self._seek = seek
        self._confirmed = confirmed
        self._waiting = WaitingStreams(supervisor or Supervisor())
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._taken_over: set[int] = set()
        self._serving: set[int] = set()
        self._lost: dict[int, asyncio.Event] = {}
        self._first_attempts: set[int] = set()
        self._tried = asyncio.Event()
        self._began = asyncio.Event()
        self._positioned = False
        self._looking: dict[int, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether every partition assigned is served; so it is also when none is."""
        return all(map(self.serves, self.assigned))

    @property
    def served(self) -> set[int]:
        """The partitions whose commands are decided here, now."""
        return set(filter(self.serves, self.assigned))

    def serves(self, partition: int) -> bool:
        """Whether commands of this partition are decided here, now."""
        return partition in self._serving and self.owners[partition].healthy and not self.waits(partition)

    def waits(self, partition: int) -> str:
        """Why a partition that is assigned is not served; empty where it is, or where nothing has failed."""
        return self._waiting.why(self._stream(partition))

    # -- from assignment to revocation -----------------------------------------------------------------

    async def assign(self, partitions: set[int]) -> None:
        """Own exactly these from now on; returns before they are taken over. Cheap to repeat.

        A partition that was here before keeps its owner with its warm cache: if another worker had it in between, the
        journal says so at the next append.
        """
        async with self._lock:
            if self._closed:
                return
            for partition in self.assigned - partitions:
                self._waiting.over(self._stream(partition))
            self.assigned = set(partitions)
            gone = [self._tasks.pop(p) for p in self._tasks.keys() - partitions]
            await asyncio.gather(*map(cancel, gone))
            self._taken_over &= partitions
            self._serving &= partitions
            leaving = [
                self.owners.pop(p)
                for p, owner in list(self.owners.items())
                if p not in partitions or (p not in self._tasks and not owner.healthy)
            ]
            begun = partitions - self._tasks.keys()
            self._first_attempts = (self._first_attempts & partitions) | begun
            self._tried.clear()
            for partition in sorted(begun):
                name = f"owning {self._stream(partition)}"
                self._tasks[partition] = asyncio.create_task(self._own(partition), name=name)
            if not self._first_attempts:
                self._tried.set()
            await asyncio.gather(*(owner.close(why="assigned to another worker") for owner in leaving))

    async def positions(self) -> dict[int, int]:
        """Where to read each partition from that is taken over by now. The others go there by themselves, later.

        Nothing in the middle of a rebalance: what was assigned is about to go.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._tried.wait()
        if not self._tasks:
            return {}
        self._positioned = True
        return {partition: self._begin(partition) for partition in self._taken_over}

    async def all_served(self) -> None:
        """Return when every partition assigned is served."""
        while not self.ready:
            self._began.clear()
            await self._began.wait()

    async def revoke(self) -> None:
        """Let go of all partitions: groups in work are finished, if the journal lets them; the rest is read again."""
        async with self._lock:
            self._positioned = False
            tasks, self._tasks = list(self._tasks.values()), {}
            self._serving.clear()
            await asyncio.gather(
                *map(cancel, tasks), *(owner.suspend(WIND_UP_SECONDS) for owner in self.owners.values())
            )
            self._taken_over.clear()

    async def close(self) -> None:
        """Own nothing any more."""
        self._closed = True
        for task in self._looking.values():
            task.cancel()
        await self.revoke()
        owners, self.owners, self.assigned = list(self.owners.values()), {}, set()
        await asyncio.gather(*(owner.close() for owner in owners))

    # -- one partition ---------------------------------------------------------------------------------

    async def _own(self, partition: int) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            began = loop.time()
            try:
                lost = self._lost[partition] = asyncio.Event()
                await self._take_over(partition)
                self._first_attempt_over(partition)
                await lost.wait()
                if await self._give_up(partition):
                    # It has perhaps been put out of the group and does not know it: the one that the group has given
                    # the partition to is not to be fenced in its turn. If so, a rebalance ends this task.
                    await self._confirmed()
            except Exception as error:
                self._waiting.hold(self._stream(partition), error)
                self._first_attempt_over(partition)
            if loop.time() - began > CALM_SECONDS:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _take_over(self, partition: int) -> None:
        """Own the partition, and serve it from where the journal says."""
        async with asyncio.timeout(TAKE_OVER_SECONDS):
            topic = await self._describe()
        if topic is None:
            raise Unavailable("the command topic has no leader")
        owner = self.owners.get(partition)
        if owner is not None and owner.topic_id != topic.id:
            await owner.close(why="the command topic was made again")
        elif owner is not None and not owner.can_go_on:
            await owner.close()
        if owner is None or not owner.can_go_on:
            owner = self.owners[partition] = self._new_owner(partition, topic.id, len(self.assigned))
        if not owner.healthy:
            await owner.take_over()
        self._taken_over.add(partition)
        if self._positioned:
            await self._seek(partition, owner.covered)
            if partition in self._taken_over:
                self._begin(partition)
        self._waiting.over(self._stream(partition))

    def _begin(self, partition: int) -> int:
        """Serve a partition that is taken over, from the offset that is returned."""
        owner = self.owners[partition]
        if partition not in self._serving:
            owner.resume()
            self._serving.add(partition)
            self._began.set()
        return owner.next_offset

    async def _give_up(self, partition: int) -> bool:
        """Let go of an owner that is lost, of this partition alone. Whether another owner has fenced it."""
        owner = self.owners[partition]
        cause = owner.lost_by or Unavailable(owner.why_lost)
        self._waiting.hold(self._stream(partition), cause, said=owner.why_lost)
        await owner.close()
        del self.owners[partition]  # and not before: cut short by a rebalance, the rest is done in that
        return isinstance(cause, Fenced)

    def lost(self, owner: Owner) -> None:
        """An owner gave up its partition: what comes is left out until it is taken over anew."""
        partition = owner.partition
        if self.owners.get(partition) is owner:
            self._serving.discard(partition)
            self._taken_over.discard(partition)
            self._lost[partition].set()

    def waiting(self, owner: Owner, error: Exception | None) -> None:
        """An owner that serves waits for this before it can answer anybody; None: it goes on."""
        partition = owner.partition
        if self.owners.get(partition) is not owner or partition not in self._serving:
            return
        if error is not None:
            self._waiting.hold(self._stream(partition), error, said=str(error))
        else:
            self._waiting.over(self._stream(partition))
            self._began.set()

    def _first_attempt_over(self, partition: int) -> None:
        self._first_attempts.discard(partition)
        if not self._first_attempts:
            self._tried.set()

    def _stream(self, partition: int) -> str:
        return stream_name(self._type, partition)

    # -- messages --------------------------------------------------------------------------------------

    async def deliver(self, partition: int, messages: Iterable[Message]) -> None:
        """Hand messages that were read together to the owner of their partition, which waits while it has enough.

        Without one they are left out, and so is the rest when it is lost meanwhile: the next owner has the consumer go
        back to what is committed.
        """
        owner = self.owners.get(partition)
        for message in messages:
            if owner is None or self.owners.get(partition) is not owner or partition not in self._serving:
                return
            try:
                await owner.deliver(message)
            except Exception as error:
                owner.fail(error)

    def covered(self, partition: int) -> int | None:
        """The offset behind the last message of a partition that is done with, if it is known here."""
        owner = self.owners.get(partition)
        return owner.covered if owner is not None and owner.head is not None else None

    def look_back(self, partition: int) -> None:
        """The consumer has started over by itself on this partition."""
        owner = self.owners.get(partition)
        if owner is not None and partition in self._serving and partition not in self._looking:
            self._looking[partition] = asyncio.create_task(self._look_back(owner), name=f"looking back {partition}")

    async def _look_back(self, owner: Owner) -> None:
        try:
            await owner.look_back()
        except Exception as error:
            owner.fail(error)
        finally:
            self._looking.pop(owner.partition, None)
