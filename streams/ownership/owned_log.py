"""One log that is assigned to this worker, and the one task that owns it, from assignment to revocation.

The task takes over, has the consumer go on from the offset that the journal says, and decides commands until ownership
is lost; then it begins again, with growing pauses. So the trouble of one log is its own: no other log waits for it,
neither in this worker nor, by a rebalance, in the others of its group.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Protocol

from streams.concurrency.tasks import cancel
from streams.journal.port import Fenced, Unavailable
from streams.kafka.topic_metadata import TopicMetadata
from streams.ownership.owner import TAKE_OVER_SECONDS, Owner
from streams.ownership.waiting import WaitingLog

WIND_UP_SECONDS = 1.5
"""A rebalance waits so long, in seconds, for the group in work."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Between two attempts to own a log, in seconds: each is twice as long as the one before."""
CALM_SECONDS = 10.0
"""An owner that has served for so many seconds may be lost without a longer pause."""


class Worker(Protocol):
    """The worker around the logs of one aggregate type."""

    def new_owner(self, partition: int, topic_id: str, waiting: WaitingLog) -> Owner:
        """An owner of the log of this partition, which has not taken over yet."""

    async def describe(self) -> TopicMetadata | None:
        """The command topic as Kafka has it; None while it has no leader. Raises `KafkaError`."""

    async def seek(self, partition: int, offset: int) -> None:
        """Have the consumer go on from this offset."""

    async def confirmed(self) -> None:
        """Return when the consumer group has confirmed, after the call, that this worker is one of its members."""


class Stage(Enum):
    """How far the task of a log is."""

    IDLE = auto()
    TAKING_OVER = auto()
    TAKEN_OVER = auto()
    """The journal has said from which offset the consumer is to go on."""
    DECIDING = auto()
    STOPPING = auto()


class OwnedLog:
    """The log of one partition in this worker. Its owner outlives the task, so that a rebalance keeps a warm cache."""

    def __init__(self, partition: int, worker: Worker, waiting: WaitingLog) -> None:
        self.partition = partition
        self.waiting = waiting
        self.owner: Owner | None = None
        self.attempted = asyncio.Event()
        """Set when the task has tried once to take over."""
        self._worker = worker
        self._stage = Stage.IDLE
        self._is_rebalanced = False
        self._begun = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def serves(self) -> bool:
        """Whether commands are decided here, now."""
        return self.owner is not None and self.owner.queue.is_open and not self.waiting.reason

    # -- called by a rebalance -------------------------------------------------------------------------

    async def start(self) -> None:
        """Own the log from now on; does nothing where the task runs already."""
        if self._is_stopping:  # a `suspend` was cut short
            await self.suspend()
        if self._task is None:
            self.attempted.clear()
            self._task = asyncio.create_task(self._own(), name=f"owning {self.waiting.stream}")

    def position(self) -> int | None:
        """The offset to read from, where the log is taken over; it serves from there.

        From now on, until the next rebalance, the task seeks by itself.
        """
        if self._task is None:
            return None
        self._is_rebalanced = True
        owner = self.owner
        if self._stage not in (Stage.TAKEN_OVER, Stage.DECIDING) or owner is None or not owner.is_owner:
            return None
        return self._begin(owner)

    async def suspend(self) -> None:
        """Let go of the log: the group in work is finished, if the journal lets it; the rest is read again."""
        self._is_rebalanced = False
        task = self._task
        if task is None:
            return
        if self.owner is not None:
            self.owner.stop()
        if self._stage in (Stage.DECIDING, Stage.STOPPING):
            self._stage = Stage.STOPPING
            await asyncio.wait({task}, timeout=WIND_UP_SECONDS)
        await cancel(task)
        self._task, self._stage = None, Stage.IDLE
        self.attempted.set()

    async def close(self, why: str) -> None:
        """Own the log no more."""
        await self.suspend()
        self.waiting.end()
        if self.owner is not None:
            await self._drop_owner(why)

    # -- the task --------------------------------------------------------------------------------------

    async def _own(self) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            began = loop.time()
            try:
                owner = await self._take_over()
                await self._start_reading(owner)
                self._stage = Stage.DECIDING
                error = await owner.run()
                if error is None or self._is_stopping:
                    return
                await self._give_up(owner, error)
            except Exception as error:
                self.waiting.begin(error)
            self.attempted.set()
            if loop.time() - began > CALM_SECONDS:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _take_over(self) -> Owner:
        self._stage = Stage.TAKING_OVER
        self._begun.clear()
        async with asyncio.timeout(TAKE_OVER_SECONDS):
            topic = await self._worker.describe()
        if topic is None:
            raise Unavailable("the command topic has no leader")
        if self.owner is not None and not (self.owner.can_go_on and self.owner.topic_id == topic.id):
            await self._drop_owner("the command topic was made again")
        if self.owner is None:
            self.owner = self._worker.new_owner(self.partition, topic.id, self.waiting)
        if not self.owner.is_owner:
            await self.owner.take_over()
        self._stage = Stage.TAKEN_OVER
        return self.owner

    async def _start_reading(self, owner: Owner) -> None:
        """Have the consumer go on from the place of the log: at the end of a rebalance together with other logs."""
        self.attempted.set()
        if self._is_rebalanced:
            await self._worker.seek(self.partition, owner.covered)
            self._begin(owner)
        else:
            await self._begun.wait()

    def _begin(self, owner: Owner) -> int:
        """Serve, unless it does; the offset from which messages are taken."""
        if not owner.queue.is_open:
            owner.open()
            self.waiting.end()
            self._begun.set()
        return owner.intake.next_offset

    @property
    def _is_stopping(self) -> bool:
        return self._stage is Stage.STOPPING

    async def _give_up(self, owner: Owner, error: Exception) -> None:
        """End what is left of an owner that is lost, of this log alone."""
        self._stage = Stage.TAKING_OVER
        self.waiting.begin(error, reason=owner.why_lost)
        await self._drop_owner()
        if isinstance(error, Fenced):
            # This worker has perhaps been put out of the group and does not know it: the one that the group has given
            # the partition to is not to be fenced in its turn. If so, a rebalance ends this task.
            await self._worker.confirmed()

    async def _drop_owner(self, why: str = "") -> None:
        assert self.owner is not None
        await self.owner.close(why=why)
        self.owner = None  # and not before: cut short by a rebalance, the rest is done in that
