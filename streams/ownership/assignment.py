"""The logs of one aggregate type that are placed in this worker: each is owned by a task."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from streams.concurrency.supervisor import Supervisor
from streams.deciding.cache import Cache
from streams.journal.layout import Layout
from streams.journal.port import log_name
from streams.ownership.owned_log import OwnedLog, Worker
from streams.ownership.waiting import WaitingLog


class Assignment:
    """The logs of one aggregate type in this worker, by number.

    A log that waits is among the troubles of `supervisor`, by its name, with the reason.
    """

    def __init__(self, type: str, worker: Worker, supervisor: Supervisor) -> None:
        self.logs: dict[int, OwnedLog] = {}
        self._type = type
        self._worker = worker
        self._supervisor = supervisor
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._seats: set[int] = set()
        self._sealed: dict[int, Cache] = {}
        """By number the caches of logs that were sealed here, until others go on from them."""
        self._is_held = False
        """Whether a rebalance is under way, or this worker is leaving."""
        self._has_left = self._is_closed = False

    @property
    def served(self) -> list[OwnedLog]:
        """The logs whose commands are decided here, now, by number."""
        return [log for _, log in sorted(self.logs.items()) if log.serves]

    @property
    def ready(self) -> bool:
        """Whether every log that is placed here is served; so it is also when there is none."""
        return all(log.serves for log in self.logs.values())

    @property
    def covered(self) -> Mapping[int, int]:
        """By slice the offset behind the last command that is done, of the logs that this worker owns."""
        owners = [log.owner for log in self.logs.values() if log.owner is not None and log.owner.is_owner]
        return {slice: offset for owner in owners for slice, offset in owner.covered.items()}

    # -- a rebalance, or a change of the layout --------------------------------------------------------

    async def assign(self, seats: Collection[int], layout: Layout) -> None:
        """A rebalance is over, which has given this worker these seats: own exactly the open logs there from now on.
        Returns before they are taken over. Those that are to end are sealed. Cheap to repeat.

        A log that was here before goes on as if nothing had been: if another worker had it in between, the journal says
        so at the next append.
        """
        async with self._lock:
            if self._is_closed or self._has_left:
                return
            self._seats, self._is_held = set(seats), False
            await self._own(layout)

    async def follow(self, layout: Layout) -> None:
        """The layout may have changed. Cheap to repeat. In the middle of a rebalance nothing is taken over."""
        async with self._lock:
            if self._is_held:
                self._end(layout)
            elif not self._is_closed:
                await self._own(layout)

    def _end(self, layout: Layout) -> None:
        """Have those sealed that are to end."""
        for number, log in self.logs.items():
            if layout.is_ending(number):
                log.end()

    async def _own(self, layout: Layout) -> None:
        placed = {span.number: span for span in layout.open if span.seat in self._seats}
        leaving = {number: self.logs[number] for number in self.logs.keys() - placed.keys()}
        self._sealed |= {number: cache for number, log in self.logs.items() if (cache := log.sealed) is not None}
        for number in sorted(placed.keys() - self.logs.keys()):
            waiting = WaitingLog(log_name(self._type, number), self._supervisor, self._changed)
            parents = [layout.log(parent) for parent in placed[number].parents]
            known = [self._sealed[parent.number] for parent in parents if parent.number in self._sealed]
            self.logs[number] = OwnedLog(placed[number], parents, self._worker, waiting, known)
        ending = {parent for log in layout.planned for parent in log.parents}
        self._sealed = {number: cache for number, cache in self._sealed.items() if number in ending}
        self._end(layout)
        await asyncio.gather(
            *(self._start(self.logs[number], layout) for number in sorted(placed)),
            *(log.close("assigned to another worker") for log in leaving.values()),
        )
        for number in leaving:  # and not before: cut short, they are closed the next time
            del self.logs[number]
        self._changed.set()

    async def _start(self, log: OwnedLog, layout: Layout) -> None:
        if not layout.is_ending(log.span.number):
            await log.go_on()
        await log.start()

    async def all_served(self) -> None:
        """Return when every log that is placed here is served."""
        while not self.ready:
            self._changed.clear()
            await self._changed.wait()

    async def revoke(self) -> None:
        """A rebalance begins, after which `assign` says what is left here. What is served goes on meanwhile."""
        async with self._lock:
            self._is_held = True
            await asyncio.gather(*(log.hold() for log in self.logs.values()))

    async def leave(self) -> None:
        """Let go of all logs: groups in work are finished, if the journal lets them; the rest is read again."""
        async with self._lock:
            self._is_held = self._has_left = True
            await asyncio.gather(*(log.suspend() for log in self.logs.values()))

    async def close(self) -> None:
        """Own nothing any more."""
        self._is_closed = True
        async with self._lock:
            logs, self.logs = self.logs, {}
            await asyncio.gather(*(log.close("this worker stops") for log in logs.values()))
