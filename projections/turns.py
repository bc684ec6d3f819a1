"""Long work on the event loop, in turns: a few milliseconds at a time, and one at a time.

A worker applies the events of many partitions side by side. If each had a turn whenever the loop comes round, a query,
for which the loop comes round some times, would wait for all of them each time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar
from weakref import WeakKeyDictionary

TURN_SECONDS = 0.004
A_FEW = 20
"""Things that are done between two looks at the clock."""

T = TypeVar("T")


class _Line:
    """Who waits for a turn on one event loop. Each time that it comes round, the first of them has one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._new_future = loop.create_future
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        future: asyncio.Future[None] = self._new_future()
        self._waiting.append(future)
        if len(self._waiting) == 1:
            self._call_soon(self._next)
        await future

    def _next(self) -> None:
        # Its turn is when the loop comes round again, and so is that of `_next` for the one behind it.
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():  # it was not cancelled
                future.set_result(None)
                break
        if self._waiting:
            self._call_soon(self._next)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()


class Turn:
    """One's turn: `ours` waits until there is one, unless this one has not been used up."""

    def __init__(self) -> None:
        self._end = 0.0
        loop = asyncio.get_running_loop()
        line = _lines.get(loop)
        self._line = _lines.setdefault(loop, _Line(loop)) if line is None else line

    async def ours(self) -> None:
        """Return at once while there is time left, and else when it is our turn again."""
        if time.perf_counter() >= self._end:
            await self._line.wait()
            self._end = time.perf_counter() + TURN_SECONDS


def few(things: Iterable[T]) -> Iterator[list[T]]:
    """Things, so many at a time as may be done between two looks at the clock."""
    rest = iter(things)
    while some := list(islice(rest, A_FEW)):
        yield some
