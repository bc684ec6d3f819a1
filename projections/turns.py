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
    """Who waits for a turn on one event loop. What is done before the loop comes round again shares one turn; who finds
    it used up waits in line, and each time that the loop comes round the first in line has one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._new_future = loop.create_future
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._end: float | None = None
        """Of the turn of this round; None while nobody has had one."""

    async def wait(self, now: float) -> float:
        """Until when it is one's turn."""
        if self._end is None:
            self._call_soon(self._comes_round)
            self._end = now + TURN_SECONDS
        elif self._waiting or now >= self._end:
            future: asyncio.Future[None] = self._new_future()
            self._waiting.append(future)
            await future
            self._end = time.perf_counter() + TURN_SECONDS
        return self._end

    def _comes_round(self) -> None:
        self._end = None
        while self._waiting and self._end is None:
            future = self._waiting.popleft()
            if not future.done():  # it was not cancelled
                future.set_result(None)
                self._end = 0.0  # it is the first one's alone, until that one knows when it ends
                self._call_soon(self._comes_round)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()


class Turn:
    """One's turn: `ours` waits until there is one, unless there is time left of it."""

    def __init__(self) -> None:
        self._end = 0.0
        loop = asyncio.get_running_loop()
        line = _lines.get(loop)
        self._line = _lines.setdefault(loop, _Line(loop)) if line is None else line

    async def ours(self) -> None:
        """Return at once while it is our turn, and else when it is again."""
        if (now := time.perf_counter()) >= self._end:
            self._end = await self._line.wait(now)


def few(things: Iterable[T]) -> Iterator[list[T]]:
    """Things, so many at a time as may be done between two looks at the clock."""
    rest = iter(things)
    while some := list(islice(rest, A_FEW)):
        yield some
