"""The commands of one log that wait for their group: bounded, so that a slow journal slows the consumer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from streams.deciding.messages import Message
from streams.limits import Limits


class CommandQueue:
    """A queue that is open or closed. At most `commands` messages wait in it, of `queue_bytes` bytes plus one message;
    the group in work may be as large again."""

    def __init__(self, limits: Limits) -> None:
        self.opening: object | None = None
        """Another object each time that the queue is opened, None while it is closed."""
        self.bytes = 0
        self.turn = asyncio.Lock()
        """Held by one who puts messages; the others wait behind him, in the order in which they came."""
        self._limits = limits
        self._queue: deque[Message] = deque()
        self._is_busy = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_open(self) -> bool:
        """Whether it takes messages."""
        return self.opening is not None

    @property
    def is_full(self) -> bool:
        """Whether messages have to wait for `room`."""
        return len(self._queue) >= self._limits.group_commands or self.bytes >= self._limits.queue_bytes

    def open(self) -> None:
        """Take messages (again)."""
        self.opening = object()
        self._is_busy = False

    def close(self) -> None:
        """Take no more messages, forget those that wait, and release all waiters."""
        self.opening = None
        self._queue.clear()
        self.bytes = 0
        self._arrived.set()
        self._room.set()

    async def room(self) -> None:
        """Wait while the queue is open and full."""
        opening = self.opening
        while self.opening is opening is not None and self.is_full:
            self._room.clear()
            await self._room.wait()

    def put(self, message: Message) -> None:
        """Append a message."""
        self._queue.append(message)
        self.bytes += message.size
        self._arrived.set()

    def put_back(self, messages: Sequence[Message]) -> None:
        """Take back the end of a group: the next group begins with it."""
        if self.is_open:
            self._queue.extendleft(reversed(messages))
            self.bytes += sum(message.size for message in messages)

    def forget(self, slice: int) -> None:
        """Take the messages of a slice out: they come again."""
        kept = [message for message in self._queue if message.partition != slice]
        self._queue.clear()
        self._queue.extend(kept)
        self.bytes = sum(message.size for message in kept)
        self._room.set()

    def wake(self) -> None:
        """Have a waiting `group` return, although there are no messages."""
        self._arrived.set()

    async def group(self) -> list[Message]:
        """The next group; empty when the queue is closed, or `wake` was called."""
        if not self._queue:
            if not self.is_open:
                return []
            self._arrived.clear()
            await self._arrived.wait()
        # One command alone is not kept waiting; behind a group of several, a few milliseconds bring more to share the
        # commit.
        if self._is_busy and 0 < len(self._queue) < self._limits.group_commands:
            await asyncio.sleep(self._limits.group_linger)
        group: list[Message] = []
        size = 0
        while self._queue and len(group) < self._limits.group_commands and size < self._limits.queue_bytes:
            group.append(self._queue.popleft())
            size += group[-1].size
        self.bytes -= size
        self._is_busy = len(group) > 1
        self._room.set()  # the next group arrives while this one is committed
        return group
