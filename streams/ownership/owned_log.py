"""One log that is placed in this worker, and the one task that owns it, from assignment to the end of that.

The task takes over, reads the commands of the log's slices from the offsets that the journal says, and decides them
until ownership is lost; then it begins again, with growing pauses. So the trouble of one log is its own: no other log
waits for it, neither in this worker nor, by a rebalance, in the others of its group.

A log ends when others are planned that go on from it: its owner derives what it has committed, and seals it. When that
is taken back before, it goes on.

A rebalance that leaves the log here does not stop it. While one is under way nobody knows whether it does: an owner
goes on, for the fence stops one who should not; but nothing is taken over, lest two fence each other in turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from streams.concurrency.tasks import cancel
from streams.deciding.cache import Cache
from streams.journal.layout import LogSpan
from streams.journal.port import Fenced, Unavailable
from streams.kafka.command_reader import KafkaCommandReader
from streams.kafka.topic_metadata import TopicMetadata
from streams.notices import NOTICES
from streams.ownership.command_reading import CommandReading
from streams.ownership.owner import TAKE_OVER_SECONDS, Owner
from streams.ownership.takeover import LogSealed
from streams.ownership.waiting import WaitingLog

log = logging.getLogger(__name__)

WIND_UP_SECONDS = 1.5
"""A log that leaves waits so long, in seconds, for the group in work, or for the news of its seal."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Between two attempts to own a log, in seconds: each is twice as long as the one before."""
CALM_SECONDS = 10.0
"""An owner that has served for so many seconds may be lost without a longer pause."""


class Worker(Protocol):
    """The worker around the logs of one aggregate type."""

    def new_owner(self, span: LogSpan, parents: Sequence[LogSpan], topic_id: str, waiting: WaitingLog) -> Owner:
        """An owner of this log, which goes on from its parents, and has not been taken over yet."""

    def new_reader(self, slices: Sequence[int]) -> KafkaCommandReader:
        """Who reads the commands of these slices."""

    async def describe(self) -> TopicMetadata | None:
        """The command topic as Kafka has it; None where there is none. Raises `KafkaError`."""

    async def note_seal(self, span: LogSpan, nr: int) -> None:
        """Write into the layout that a log ends with commit `nr`, and have the logs begin that go on from it."""

    async def confirmed(self) -> None:
        """Return when the consumer group has confirmed, after the call, that this worker is one of its members."""


class Stage(Enum):
    """How far the task of a log is."""

    IDLE = auto()
    TAKING_OVER = auto()
    DECIDING = auto()
    NOTING = auto()
    STOPPING = auto()


class OwnedLog:
    """A log in this worker. Its owner outlives the task, so that one that comes back keeps a warm cache.

    `known` are the caches of the logs before it that were sealed here: what nobody can have changed since.
    """

    def __init__(
        self,
        span: LogSpan,
        parents: Sequence[LogSpan],
        worker: Worker,
        waiting: WaitingLog,
        known: Sequence[Cache] = (),
    ) -> None:
        self.span = span
        self._parents = parents
        self._known = known
        self.name = waiting.name
        self.waiting = waiting
        self.owner: Owner | None = None
        self._worker = worker
        self._stage = Stage.IDLE
        self._is_ending = False
        self._is_placed = asyncio.Event()
        """Set while no rebalance is under way."""
        self._task: asyncio.Task[None] | None = None

    @property
    def serves(self) -> bool:
        """Whether commands are decided here, now."""
        return self.owner is not None and self.owner.queue.is_open and not self.waiting.reason

    @property
    def sealed(self) -> Cache | None:
        """The cache of the owner that has sealed the log here; None where there is none."""
        owner = self.owner
        return owner.handler.cache if owner is not None and owner.head is not None and owner.head.is_seal else None

    # -- called by a rebalance -------------------------------------------------------------------------

    async def start(self) -> None:
        """Own the log from now on: it is placed here. A task that runs goes on."""
        if self._is_stopping:  # a `suspend` was cut short
            await self.suspend()
        self._is_placed.set()
        if self._task is not None and self._task.done() and self._failed(self._task):
            self._task = None
        if self._task is None:
            self._task = asyncio.create_task(self._own(), name=f"owning {self.name}")

    def _failed(self, task: asyncio.Task[None]) -> bool:
        """Whether a task that has ended has done so by an error, which is said."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            NOTICES.note("owner-failed", self.name, f"{self.name}: its task failed, and begins anew: {error!r}")
            log.error("%s: its task failed, and begins anew", self.name, exc_info=error)
        return error is not None

    async def hold(self) -> None:
        """A rebalance begins: an owner goes on, and what is being taken over is given up until it is placed."""
        self._is_placed.clear()
        if self._stage not in (Stage.DECIDING, Stage.NOTING):
            await self.suspend()

    def end(self) -> None:
        """Others are planned that go on from the log: it is to be sealed. Cheap to repeat."""
        if not self._is_ending:
            self._is_ending = True
            if self.owner is not None:
                self.owner.stop()

    async def go_on(self) -> None:
        """The log is not to end after all: what was planned is taken back. `start` comes next. Cheap to repeat."""
        if self._is_ending:
            await self.suspend()
            self._is_ending = False

    async def suspend(self) -> None:
        """Let go of the log: the group in work is finished, if the journal lets it; the rest is read again."""
        task = self._task
        if task is None:
            return
        if self.owner is not None:
            self.owner.stop()
        if self._stage in (Stage.DECIDING, Stage.NOTING, Stage.STOPPING):
            self._stage = Stage.STOPPING
            await asyncio.wait({task}, timeout=WIND_UP_SECONDS)
        await cancel(task)
        self._task, self._stage = None, Stage.IDLE

    async def close(self, why: str) -> None:
        """Own the log no more."""
        await self.suspend()
        self.waiting.end()
        if self.owner is not None:
            await self._drop_owner(why)

    # -- the task --------------------------------------------------------------------------------------

    async def _own(self) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        async with self._worker.new_reader(self.span.slices) as reader:
            while True:
                began = loop.time()
                try:
                    if await self._is_done(reader):
                        return
                except Exception as error:
                    self.waiting.begin(error)
                if loop.time() - began > CALM_SECONDS:
                    pause = FIRST_PAUSE
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                await self._is_placed.wait()

    async def _is_done(self, reader: KafkaCommandReader) -> bool:
        """Own the log once, and seal it where it is to end. Returns False where ownership was lost."""
        reading: CommandReading | None = None
        try:
            owner = await self._new_owner()
            reading = CommandReading(owner, reader)
            await self._take_over(owner, reading)
            error = None if self._is_ending else await self._serve(owner, reading)
        except LogSealed as sealed:
            await self._note_seal(sealed.nr)
            return True
        finally:
            if reading is not None:
                await reading.end()
        if error is None and self._is_ending and not self._is_stopping:
            error = await self._seal(owner)
        if error is None or self._is_stopping:
            return True
        await self._give_up(owner, error)
        return False

    async def _new_owner(self) -> Owner:
        """One that is the owner, or is to take over."""
        self._stage = Stage.TAKING_OVER
        async with asyncio.timeout(TAKE_OVER_SECONDS):
            topic = await self._worker.describe()
        if topic is None:
            raise Unavailable("there is no command topic just now")
        if self.owner is not None and not (self.owner.can_go_on and self.owner.topic_id == topic.id):
            await self._drop_owner("the command topic was made again")
        if self.owner is None:
            self.owner = self._worker.new_owner(self.span, self._parents, topic.id, self.waiting)
        return self.owner

    async def _take_over(self, owner: Owner, reading: CommandReading) -> None:
        if not owner.is_owner:
            await owner.take_over(self._known, reading.begin)
            self._known = ()
            await reading.settle()

    async def _serve(self, owner: Owner, reading: CommandReading) -> Exception | None:
        """Read and decide, until ownership is lost, for the reason that is returned; None where `stop` ends it."""
        reading.open()
        self.waiting.end()
        self._stage = Stage.DECIDING
        return await owner.run()

    async def _seal(self, owner: Owner) -> Exception | None:
        """End the log; the error by which ownership was lost before that."""
        try:
            nr = await owner.seal()
        except Exception as error:
            owner.lose(error)
            return error
        await self._note_seal(nr)
        return None

    async def _note_seal(self, nr: int) -> None:
        self.waiting.end()
        if not self._is_stopping:
            self._stage = Stage.NOTING
        await self._worker.note_seal(self.span, nr)

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
            # the log to is not to be fenced in its turn. If so, a rebalance ends this task.
            await self._worker.confirmed()

    async def _drop_owner(self, why: str = "") -> None:
        assert self.owner is not None
        await self.owner.close(why=why)
        self.owner = None  # and not before: cut short by a rebalance, the rest is done in that
