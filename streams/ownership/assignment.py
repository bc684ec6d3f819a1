"""The logs of one aggregate type that are placed in this worker: each is owned by a task."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from streams.concurrency.supervisor import Supervisor
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
        self._is_closed = False

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
        """Own exactly the open logs at these seats from now on; returns before they are taken over. Those that are to
        end are sealed. Cheap to repeat.

        A log that was here before goes on as if nothing had been: if another worker had it in between, the journal says
        so at the next append.
        """
        async with self._lock:
            if self._is_closed:
                return
            placed = {span.number: span for span in layout.open if span.seat in seats}
            leaving = [self.logs.pop(number) for number in self.logs.keys() - placed.keys()]
            for number in sorted(placed.keys() - self.logs.keys()):
                waiting = WaitingLog(log_name(self._type, number), self._supervisor, self._changed)
                parents = [layout.log(parent) for parent in placed[number].parents]
                self.logs[number] = OwnedLog(placed[number], parents, self._worker, waiting)
            for number, log in self.logs.items():
                if layout.is_ending(number):
                    log.end()
            await asyncio.gather(
                *(log.start() for _, log in sorted(self.logs.items())),
                *(log.close("assigned to another worker") for log in leaving),
            )

    async def all_served(self) -> None:
        """Return when every log that is placed here is served."""
        while not self.ready:
            self._changed.clear()
            await self._changed.wait()

    async def revoke(self) -> None:
        """A rebalance begins, after which `assign` says what is left here. What is served goes on meanwhile."""
        async with self._lock:
            await asyncio.gather(*(log.hold() for log in self.logs.values()))

    async def leave(self) -> None:
        """Let go of all logs: groups in work are finished, if the journal lets them; the rest is read again."""
        async with self._lock:
            await asyncio.gather(*(log.suspend() for log in self.logs.values()))

    async def close(self) -> None:
        """Own nothing any more."""
        self._is_closed = True
        async with self._lock:
            logs, self.logs = self.logs, {}
            await asyncio.gather(*(log.close("this worker stops") for log in logs.values()))
