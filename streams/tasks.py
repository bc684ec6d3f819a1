"""Ends of tasks: asyncio's own ways leave some running behind the caller's back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable


async def all_done(work: Iterable[Awaitable[object]]) -> None:
    """Do all of it side by side, to the end, and then raise what failed first.

    `asyncio.gather` raises at once, and what it leaves running may still act when its caller has moved on.
    """
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def cancel(task: asyncio.Task[None]) -> None:
    """End a task, and wait until it has ended."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
