"""Which partitions of a command topic this worker owns: from assignment to revocation, one path for all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from aiokafka.errors import KafkaError

from streams.journal import Unavailable
from streams.messages import Message
from streams.owner import Owner
from streams.tasks import all_done
from streams.topic_ids import Described

log = logging.getLogger(__name__)

TAKE_OVER_SECONDS = 15.0
WIND_UP_SECONDS = 1.5
RETRY_SECONDS = 1.0


class Ownership:
    """The owners of one aggregate type in this worker.

    `new_owner(partition, topic_id)` makes one, `describe()` asks the broker for the command topic, and
    `rejoin()` asks for a rebalance: the way in for a partition that could not be taken over, or was lost.
    """

    def __init__(
        self,
        new_owner: Callable[[int, str, int], Owner],
        describe: Callable[[], Awaitable[Described | None]],
        rejoin: Callable[[], None],
    ) -> None:
        self.owners: dict[int, Owner] = {}
        self.assigned: set[int] = set()
        self._serving: set[int] = set()
        self._new_owner = new_owner
        self._describe = describe
        self._rejoin = rejoin
        self._retry: asyncio.Task[None] | None = None
        self._looking: dict[int, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    @property
    def ready(self) -> bool:
        """Whether every partition assigned is served."""
        return all(map(self.serves, self.assigned))

    def serves(self, partition: int) -> bool:
        """Whether commands of this partition are decided here, now."""
        return partition in self._serving and self.owners[partition].healthy

    async def assign(self, partitions: set[int]) -> dict[int, int]:
        """Own exactly these; returns where to read each from. Cheap to repeat.

        A partition that was here before keeps its owner with its warm cache: if another worker had it in
        between, the journal says so at the next append. One that cannot be taken over now is left out: what
        is delivered of it is left out, and a rebalance asked for as soon as the journal answers.
        """
        async with self._lock:
            self.assigned = set(partitions)
            leaving = [
                self.owners.pop(p) for p in list(self.owners) if p not in partitions or not self.owners[p].healthy
            ]
            await asyncio.gather(*(owner.close(why="assigned to another worker") for owner in leaving))
            self._serving &= self.owners.keys()
            try:
                async with asyncio.timeout(TAKE_OVER_SECONDS):
                    topic = await self._describe()
                    if topic is None:
                        raise Unavailable("the command topic has no leader")
                    await all_done(self._own(p, topic.id, len(partitions)) for p in sorted(partitions))
            except (Unavailable, KafkaError, TimeoutError) as error:
                missing = sorted(p for p in partitions if p not in self._serving)
                log.warning("partitions %s cannot be taken over yet: %s", missing, error or "no answer in time")
                self._rejoin_later()
            return {p: self.owners[p].next_offset for p in self._serving}

    async def _own(self, partition: int, topic_id: str, count: int) -> None:
        owner = self.owners.get(partition)
        if owner is not None and owner.topic_id != topic_id:
            await owner.close(why="the command topic was made again")
            owner = None
            self._serving.discard(partition)
        if owner is None:
            owner = self._new_owner(partition, topic_id, count)
            await owner.take_over()
            self.owners[partition] = owner
        if partition not in self._serving:
            owner.resume()
            self._serving.add(partition)

    async def revoke(self) -> None:
        """Let go of all partitions: groups in work are finished, if the journal lets them; the rest is read again."""
        async with self._lock:
            self._serving.clear()
            await asyncio.gather(*(owner.suspend(WIND_UP_SECONDS) for owner in self.owners.values()))

    async def close(self) -> None:
        """Own nothing any more."""
        for task in (self._retry, *self._looking.values()):
            if task is not None:
                task.cancel()
        await self.revoke()
        owners, self.owners, self.assigned = list(self.owners.values()), {}, set()
        await asyncio.gather(*(owner.close() for owner in owners))

    async def deliver(self, partition: int, messages: Iterable[Message]) -> None:
        """Hand messages to the owner of their partition, which waits while it has enough. Without one they are left
        out: the next begins behind what is committed."""
        for message in messages:
            owner = self.owners.get(partition)
            if owner is not None and partition in self._serving:
                await owner.deliver(message)

    def covered(self, partition: int) -> int | None:
        """The offset behind the last message of a partition that is done with, if it is known here."""
        owner = self.owners.get(partition)
        return owner.covered if owner is not None else None

    def lost(self, owner: Owner) -> None:
        """An owner gave up its partition: what comes is left out until the partition is assigned anew."""
        if self.owners.get(owner.partition) is owner:
            self._serving.discard(owner.partition)
            self._rejoin_later()

    def look_back(self, partition: int) -> None:
        """The consumer has started over by itself on this partition."""
        owner = self.owners.get(partition)
        if owner is not None and partition in self._serving and partition not in self._looking:
            self._looking[partition] = task = asyncio.create_task(owner.look_back())
            task.add_done_callback(lambda _: self._looking.pop(partition, None))

    def _rejoin_later(self) -> None:
        if self._retry is None or self._retry.done():
            self._retry = asyncio.create_task(self._rejoin_when_possible())

    async def _rejoin_when_possible(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if self.ready or self._lock.locked():
                return
            try:
                if await self._describe() is not None:
                    self._rejoin()
                    return
            except (KafkaError, Unavailable, TimeoutError):
                continue
