"""What many ask for at the same time: asked once for all of them, and not again within some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """An answer that is `seconds` old at most when somebody asks for one, and for which nobody waits longer than
    `patience`: who asks again finds it when it has come meanwhile."""

    def __init__(self, ask: Callable[[], Awaitable[T]], *, seconds: float, patience: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._patience = patience
        self._asking: asyncio.Task[T] | None = None
        self._began = float("-inf")

    async def get(self) -> T:
        """The answer. Raises `TimeoutError`, and what asking raises."""
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now - self._began >= self._seconds):
            self._began = now
            self._asking = asyncio.create_task(self._answer())
            self._asking.add_done_callback(_retrieved)
        async with asyncio.timeout(self._patience):
            return await asyncio.shield(self._asking)

    async def _answer(self) -> T:
        return await self._ask()


def _retrieved(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waits for it is told
