"""Long work on the event loop, in turns: a few milliseconds at a time, and one at a time.

A worker applies the events of many partitions side by side. If each partition had a turn in every round of the loop, a
query, which takes several rounds, would wait for all partitions in each of them.
"""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections.abc import AsyncIterator, Iterable, Iterator
from contextvars import ContextVar
from itertools import count, islice
from operator import itemgetter
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary

TURN_SECONDS = 0.004
A_FEW = 20
"""The number of things that are done between two looks at the clock."""

T = TypeVar("T")


class Turns(Protocol):
    """A queue of tasks that wait for a turn."""

    async def wait(self, now: float) -> float:
        """Wait for a turn. Returns its end, by the clock that says `now`."""


class _Line:
    """The tasks that wait for a turn on one event loop. The tasks of one round of the loop share one turn, in the order
    of their arrival; a task that finds the turn used up waits for the next one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tickets = count()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._end: float | None = None
        """The end of the turn of this round; None before its first task."""

    async def wait(self, now: float) -> float:
        ticket = next(self._tickets)
        while True:
            if self._end is None:
                self._loop.call_soon(self._comes_round)
                self._end = now + TURN_SECONDS
            if now < self._end and (not self._waiting or ticket < self._waiting[0][0]):
                return self._end
            future: asyncio.Future[None] = self._loop.create_future()
            insort(self._waiting, (ticket, future), key=itemgetter(0))
            await future
            now = time.perf_counter()

    def _comes_round(self) -> None:
        waiting, self._waiting, self._end = self._waiting, [], None
        for _, future in waiting:
            if not future.done():  # it was not cancelled
                future.set_result(None)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
LINE: ContextVar[Turns | None] = ContextVar("line", default=None)
"""The queue of a task that does not wait in the line of its event loop: the simulation sets it."""
_end: ContextVar[float] = ContextVar("end of the turn", default=0.0)
"""Each task has a value of its own, at first that of the task that made it."""


async def yield_if_due() -> None:
    """Return at once while this task has its turn, and else when its next turn begins."""
    if (now := time.perf_counter()) >= _end.get():
        line = LINE.get() or _line_of(asyncio.get_running_loop())
        _end.set(await line.wait(now))


def _line_of(loop: asyncio.AbstractEventLoop) -> Turns:
    line = _lines.get(loop)
    if line is None:
        line = _lines[loop] = _Line(loop)
    return line


async def in_turns(things: Iterable[T]) -> AsyncIterator[list[T]]:
    """The chunks of things that are to be done in turns; a few of them go along with what was done before.

    A task that looks at the clock for each little thing waits in line for each, behind all others, as soon as there is
    more to do than time: what takes a tenth of a turn would take twenty.
    """
    for number, chunk in enumerate(chunks(things)):
        if number:
            await yield_if_due()
        yield chunk


def chunks(things: Iterable[T]) -> Iterator[list[T]]:
    """Things in lists of `A_FEW`, which may be done between two looks at the clock."""
    rest = iter(things)
    while chunk := list(islice(rest, A_FEW)):
        yield chunk
