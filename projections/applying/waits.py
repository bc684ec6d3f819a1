"""Who waits at a worker until tables have a commit: how many they may be, and who is woken by a batch.

A batch wakes those alone whose commit is reached, in the logarithm of how many wait, and nobody else has to look: a
thousand clients that wait for what never comes cost the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Iterator
from itertools import count

from projections.http.forwarding import Busy
from projections.http.problems import NotNow


class MostAtOnce:
    """As many may wait at the same time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = 0

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """Count one who waits. Raises `Busy`."""
        if self.now >= self.most:
            raise Busy(f"this worker is busy: {self.most} requests wait for positions already")
        self.now += 1
        try:
            yield
        finally:
            self.now -= 1


class _Queue:
    """Those who wait for the same table, by commit number."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._over = 0
        """How many in the heap wait no longer: they are taken out when they are half of it."""

    def __bool__(self) -> bool:
        return len(self._heap) > self._over

    def add(self, nr: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, (nr, next(self._order), future))
        return future

    def give_up(self, future: asyncio.Future[None]) -> None:
        if future.cancel():
            self._over += 1
            if 2 * self._over > len(self._heap):
                self._heap = [entry for entry in self._heap if not entry[2].done()]
                heapq.heapify(self._heap)
                self._over = 0

    def reached(self, nr: int) -> None:
        while self._heap and self._heap[0][0] <= nr:
            _, _, future = heapq.heappop(self._heap)
            if future.done():
                self._over -= 1
            else:
                future.set_result(None)

    def fail(self, reason: str) -> None:
        for _, _, future in self._heap:
            if not future.done():
                future.set_exception(NotNow(reason))
                future.exception()  # who has stopped waiting just now is not interested
        self._heap, self._over = [], 0


class Waits:
    """Those of one aggregate type, by partition and projection."""

    def __init__(self) -> None:
        self._queues: dict[tuple[int, str], _Queue] = {}

    @contextlib.contextmanager
    def waiting(self, partition: int, projection: str, nr: int) -> Iterator[asyncio.Future[None]]:
        """Done when the table that answers has the commit; `fail` makes it raise `NotNow`."""
        at = partition, projection
        queue = self._queues.setdefault(at, _Queue())
        future = queue.add(nr)
        try:
            yield future
        finally:
            queue.give_up(future)
            if not queue and self._queues.get(at) is queue:
                del self._queues[at]

    def awaited(self, partition: int) -> list[str]:
        """The projections that somebody waits for in a partition."""
        return [projection for number, projection in self._queues if number == partition]

    def reached(self, partition: int, projection: str, nr: int) -> None:
        """The table that answers has this commit."""
        if (queue := self._queues.get((partition, projection))) is not None:
            queue.reached(nr)

    def fail(self, reason: str) -> None:
        """Nobody is to wait any longer."""
        queues, self._queues = self._queues, {}
        for queue in queues.values():
            queue.fail(reason)
