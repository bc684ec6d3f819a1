"""The messages of one partition that wait for their group: bounded, so that a slow journal slows the consumer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from streams.limits import Limits
from streams.messages import Message


class Delivery(Message, gc=False):
    """A message as the consumer delivered it; `ack` when a commit covers it, else `discard`."""

    ack: Callable[[], object]
    discard: Callable[[], object]


class Intake:
    """A queue that is open or closed. Up to `commands` and `queue_bytes` (and one message more) wait in it."""

    def __init__(self, limits: Limits) -> None:
        self.is_open = False
        self.bytes = 0
        self._limits = limits
        self._queue: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    def open(self) -> None:
        """Take messages (again)."""
        self.is_open = True

    def close(self) -> None:
        """Take no more, discard what is there, and let go of whoever waits."""
        self.is_open = False
        while self._queue:
            self._queue.popleft().discard()
        self.bytes = 0
        self._arrived.set()
        self._room.set()

    async def room(self) -> None:
        """Wait while it is full, and open."""
        while self.is_open and (len(self._queue) >= self._limits.commands or self.bytes >= self._limits.queue_bytes):
            self._room.clear()
            await self._room.wait()

    def put(self, delivery: Delivery) -> None:
        """Take the next message."""
        self._queue.append(delivery)
        self.bytes += delivery.size
        self._arrived.set()

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Take back the end of a group, which comes first again."""
        self._queue.extendleft(reversed(deliveries))
        self.bytes += sum(delivery.size for delivery in deliveries)
        if not self.is_open:
            self.close()

    async def group(self, was_busy: bool) -> list[Delivery]:
        """The next group, empty when the intake has been closed."""
        while not self._queue:
            if not self.is_open:
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
        self.bytes -= sum(delivery.size for delivery in group)
        self._room.set()  # the next group arrives while this one is committed
        return group
