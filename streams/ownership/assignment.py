"""The logs of one aggregate type that the consumer group has assigned to this worker: each is owned by a task."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from streams.concurrency.supervisor import Supervisor
from streams.deciding.messages import Message
from streams.journal.port import stream_name
from streams.ownership.owned_log import OwnedLog, Worker
from streams.ownership.owner import Owner
from streams.ownership.waiting import WaitingLog

GRACE_SECONDS = 1.0
"""A rebalance waits so long, in seconds, for takeovers, so that one seek of Faust's serves all of them. Later ones seek
by themselves."""


class Assignment:
    """The logs of one aggregate type in this worker, by partition.

    A log that waits is among the troubles of `supervisor`, by the name of its stream, with the reason.
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
    def assigned(self) -> set[int]:
        """The partitions that the group has assigned to this worker."""
        return set(self.logs)

    @property
    def served(self) -> set[int]:
        """The partitions whose commands are decided here, now."""
        return {partition for partition, log in self.logs.items() if log.serves}

    @property
    def ready(self) -> bool:
        """Whether every partition assigned is served; so it is also when none is."""
        return all(log.serves for log in self.logs.values())

    # -- a rebalance -----------------------------------------------------------------------------------

    async def assign(self, partitions: set[int]) -> None:
        """Own exactly these from now on; returns before they are taken over. Cheap to repeat.

        A partition that was here before keeps its owner with its warm cache: if another worker had it in between, the
        journal says so at the next append.
        """
        async with self._lock:
            if self._is_closed:
                return
            leaving = [self.logs.pop(partition) for partition in self.assigned - partitions]
            for partition in sorted(partitions - self.assigned):
                waiting = WaitingLog(stream_name(self._type, partition), self._supervisor, self._changed)
                self.logs[partition] = OwnedLog(partition, self._worker, waiting)
            await asyncio.gather(
                *(log.start() for _, log in sorted(self.logs.items())),
                *(log.close("assigned to another worker") for log in leaving),
            )

    async def positions(self) -> dict[int, int]:
        """The offsets to read from, of the partitions that are taken over by now. The others go there later, by
        themselves.

        Empty in the middle of a rebalance: the partitions assigned are about to go.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                for log in list(self.logs.values()):
                    await log.attempted.wait()
        positions = {partition: log.position() for partition, log in self.logs.items()}
        return {partition: offset for partition, offset in positions.items() if offset is not None}

    async def all_served(self) -> None:
        """Return when every partition assigned is served."""
        while not self.ready:
            self._changed.clear()
            await self._changed.wait()

    async def revoke(self) -> None:
        """Let go of all partitions: groups in work are finished, if the journal lets them; the rest is read again."""
        async with self._lock:
            await asyncio.gather(*(log.suspend() for log in self.logs.values()))

    async def close(self) -> None:
        """Own nothing any more."""
        self._is_closed = True
        async with self._lock:
            logs, self.logs = self.logs, {}
            await asyncio.gather(*(log.close("this worker stops") for log in logs.values()))

    # -- messages --------------------------------------------------------------------------------------

    def owner(self, partition: int) -> Owner | None:
        """The owner of a partition, where this worker has one."""
        log = self.logs.get(partition)
        return log.owner if log is not None else None

    async def deliver(self, partition: int, messages: Iterable[Message]) -> None:
        """Hand messages that were read together to the owner of their partition, which waits while it has enough.

        Without an owner they are left out, and so is the rest when it is lost meanwhile: the next owner has the
        consumer go back to the committed offset.
        """
        if (owner := self.owner(partition)) is not None:
            await owner.deliver(messages)

    def covered(self, partition: int) -> int | None:
        """The offset behind the last command of a partition that is done, if it is known here."""
        owner = self.owner(partition)
        return owner.covered if owner is not None and owner.head is not None else None

    def went_back(self, partition: int) -> None:
        """The consumer has started over by itself on this partition."""
        if (owner := self.owner(partition)) is not None and owner.queue.is_open:
            owner.intake.went_back()
