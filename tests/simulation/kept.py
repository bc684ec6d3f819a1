"""Tasks that workers keep: they may fail over what was done to the world, and over nothing else.

A task that fails over a bug of its own is begun again, and mostly all comes right in the end: nobody would see the bug.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from streams.concurrency.supervisor import Supervisor
from tests.simulation.network import is_injected

if TYPE_CHECKING:
    from tests.simulation.world import World


class WatchedSupervisor(Supervisor):
    """The product's, whose failures are looked at."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        async def watched() -> None:
            task = asyncio.current_task()
            try:
                await work()
            except Exception as error:
                is_killed = asyncio.current_task() is not task  # somebody else closes what the process was about to do
                if not is_killed and not is_injected(error):
                    self._world.checks.fail("no kept task fails over what was not injected", f"{name}: {error!r}")
                raise

        return super().keep(name, watched)
