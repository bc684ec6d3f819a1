"""How records of a partition get from the consumer to whoever receives them: in batches, in order, not too many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from faust.types import TP

from streams.concurrency.tasks import cancel


class ConsumerRecord(Protocol):
    """A record as Kafka has it; `timestamp` in milliseconds."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp: int


class RecordHandler(Protocol):
    """Takes the records of a topic in the place of an agent's stream."""

    async def receive(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        """Take the next records of a partition; waits while it has enough of it."""

    def covered(self, partition: int) -> int | None:
        """The offset behind the last record that is done with, None if that is not known: what the consumer group is
        told. Nothing but the view of operators depends on it."""


class PartitionPump:
    """Brings batches to `receive`, those of one partition one after another.

    A partition whose next batch waits already is `full`: it is not to be read. So at most two batches of it are here,
    each no larger than what one fetch brings, and none of them keeps other partitions waiting. `failed` is told what
    `receive` raises.
    """

    def __init__(
        self,
        receive: Callable[[TP, Sequence[ConsumerRecord]], Awaitable[None]],
        failed: Callable[[Exception], Awaitable[None]],
    ) -> None:
        self.full: set[TP] = set()
        self.freed = asyncio.Event()
        """Set when a partition is full no more."""
        self._receive = receive
        self._failed = failed
        self._waiting: dict[TP, deque[Sequence[ConsumerRecord]]] = {}
        self._tasks: dict[TP, asyncio.Task[None]] = {}

    def put(self, tp: TP, records: Sequence[ConsumerRecord]) -> None:
        """Hand over the next batch of a partition."""
        if tp in self._waiting:
            self._waiting[tp].append(records)
            self.full.add(tp)
        else:
            waiting = self._waiting[tp] = deque([records])
            self._tasks[tp] = asyncio.create_task(self._bring(tp, waiting), name=f"handing over {tp}")

    async def _bring(self, tp: TP, waiting: deque[Sequence[ConsumerRecord]]) -> None:
        while waiting:
            records = waiting.popleft()
            self.full.discard(tp)
            self.freed.set()
            try:
                await self._receive(tp, records)
            except Exception as error:
                await self._failed(error)
                return
        if self._waiting.get(tp) is waiting:  # and not what came after a `drop`
            del self._waiting[tp], self._tasks[tp]

    async def drop(self) -> None:
        """Forget what has not been received."""
        tasks, self._tasks, self._waiting = list(self._tasks.values()), {}, {}
        self.full.clear()
        self.freed.set()
        await asyncio.gather(*map(cancel, tasks))
