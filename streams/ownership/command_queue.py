"""The messages of one partition that wait for their group: bounded, so that a slow journal slows the consumer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from streams.deciding.messages import Message
from streams.limits import Limits


class CommandQueue:
    """A queue that is open or closed. Up to `commands` and `queue_bytes` (and one message more) wait in it, and as much
    is in a group."""

    def __init__(self, limits: Limits) -> None:
        self.is_open = False
        self.bytes = 0
        self._limits = limits
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    def open(self) -> None:
        """Take messages (again)."""
        self.is_open = True

    def close(self) -> None:
        """Take no more, forget what is there, and let go of whoever waits."""
        self.is_open = False
        self._queue.clear()
        self.bytes = 0
        self._arrived.set()
        self._room.set()

    async def room(self) -> None:
        """Wait while it is full, and open."""
        while self.is_open and (
            len(self._queue) >= self._limits.group_commands or self.bytes >= self._limits.queue_bytes
        ):
            self._room.clear()
            await self._room.wait()

    def put(self, message: Message) -> None:
        """Take the next message."""
        self._queue.append(message)
        self.bytes += message.size
        self._arrived.set()

    def put_back(self, messages: Sequence[Message]) -> None:
        """Take back the end of a group, which comes first again."""
        self._queue.extendleft(reversed(messages))
        self.bytes += sum(message.size for message in messages)
        if not self.is_open:
            self.close()

    async def group(self, was_busy: bool) -> list[Message]:
        """The next group, empty when the intake has been closed."""
        while not self._queue:
            if not self.is_open:
                return []
            self._arrived.clear()
            await self._arrived.wait()
            was_busy = was_busy and bool(self._queue)
        # One command alone is not kept waiting; where many come, a few milliseconds bring more to share the commit.
        if was_busy and len(self._queue) < self._limits.group_commands:
            await asyncio.sleep(self._limits.group_linger)
        group: list[Message] = []
        size = 0
        while self._queue and len(group) < self._limits.group_commands and size < self._limits.queue_bytes:
            group.append(self._queue.popleft())
            size += group[-1].size
        self.bytes -= size
        self._room.set()  # the next group arrives while this one is committed
        return group
