"""An owner that has a task of its own, as the log of a worker gives it one: for tests of one owner alone."""

from __future__ import annotations

import asyncio
from typing import Any

from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import cancel
from streams.deciding.group_handler import GroupHandler
from streams.ownership.owner import CLOSE_SECONDS, Owner
from streams.ownership.waiting import WaitingLog


class Source:
    """Whoever brings the commands of an owner: what it was told of slices, with the offset where they go on."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int | None]] = []

    def hold(self, slice: int) -> None:
        self.told.append(("hold", slice, None))

    def go_on(self, slice: int, offset: int) -> None:
        self.told.append(("go on", slice, offset))


class RunningOwner(Owner):
    """It runs from `resume` to `suspend` or `close`."""

    def __init__(self, *, handler: GroupHandler, waiting: WaitingLog | None = None, **options: Any) -> None:
        waiting = waiting or WaitingLog(handler.log, Supervisor(), asyncio.Event())
        super().__init__(handler=handler, waiting=waiting, **options)
        self.running: asyncio.Task[Exception | None] | None = None
        self.source = Source()

    @property
    def next_offsets(self) -> dict[int, int]:
        """The command that is due, by slice."""
        return {slice: intake.next_offset for slice, intake in self.intakes.items()}

    @property
    def queued(self) -> tuple[int, int]:
        """Commands that wait for a commit, and the bytes of their messages."""
        return len(self.queue), self.queue.bytes

    def resume(self) -> None:
        """Serve (again)."""
        self.open(self.source)
        self.running = asyncio.create_task(self.run(), name=f"running {self.log}")

    async def suspend(self, seconds: float) -> None:
        """Stop serving; what is not done in so many seconds is cut short."""
        self.stop()
        if self.running is not None:
            await asyncio.wait({self.running}, timeout=seconds)
            await cancel(self.running)
            self.running = None

    async def close(self, seconds: float = CLOSE_SECONDS, why: str = "this worker stops") -> None:
        await self.suspend(seconds)
        await super().close(seconds, why)
