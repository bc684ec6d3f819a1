"""The events of one partition on their way into the tables: in order, without a gap, a batch at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from streams.tasks import cancel

log = logging.getLogger(__name__)

BATCH = 500
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

GapIsEmpty = Callable[[int, int], Awaitable[bool]]


class Lane:
    """A bounded queue, and a task that applies what is in it, from `next_offset` on until it is closed.

    `apply(batch)` raises with nothing done, and is asked again; `let_go(event)` is for what will be delivered
    again; `lost()` is called when events are missing: the lane is closed then, and the partition to be read again.
    """

    def __init__(
        self,
        name: str,
        next_offset: int,
        apply: Callable[[Sequence[Any]], Awaitable[None]],
        let_go: Callable[[Any], None],
        gap_is_empty: GapIsEmpty,
        lost: Callable[[], None],
    ) -> None:
        self.next_offset = next_offset
        self.began = False
        self._name = name
        self._apply = apply
        self._let_go = let_go
        self._gap_is_empty = gap_is_empty
        self._lost = lost
        self._queue: deque[Any] = deque()
        self._changed = asyncio.Event()
        self._open = True
        self._task = asyncio.create_task(self._work(), name=f"lane {name}")

    async def put(self, event: Any) -> None:
        """Take the next event; waits while there is enough to do.

        Offsets must follow one another, except where Kafka itself has none to give (retention). One seen before is
        let go.
        """
        while self._open and len(self._queue) >= 2 * BATCH:
            self._changed.clear()
            await self._changed.wait()
        offset = event.message.offset
        while self._open and offset > (due := self.next_offset):
            if await self._gap_is_empty(due, offset):
                break
            if self._open:
                log.warning("%s: offset %d came where %d was due: reading again from there", self._name, offset, due)
                self._drop()
                self._lost()
        if not self._open or offset < self.next_offset:
            self._let_go(event)
            return
        self.next_offset, self.began = offset + 1, True
        self._queue.append(event)
        self._changed.set()

    async def close(self) -> None:
        """Apply no more, and let go of what is not applied."""
        self._drop()
        await cancel(self._task)

    def _drop(self) -> None:
        self._open = False
        self._changed.set()
        while self._queue:
            self._let_go(self._queue.popleft())

    async def _work(self) -> None:
        pause = FIRST_PAUSE
        while True:
            while not self._queue:
                self._changed.clear()
                await self._changed.wait()
            batch = [self._queue[i] for i in range(min(BATCH, len(self._queue)))]
            try:
                await self._apply(batch)
            except Exception as error:
                log.error("%s events wait, nothing is lost: %s: %s", self._name, type(error).__name__, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            for event in batch[: len(self._queue)]:  # none, when the lane was dropped meanwhile
                self._queue.popleft()
                event.ack()
            self._changed.set()
            await asyncio.sleep(0)
