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


async def until_one_ends(*work: Awaitable[None]) -> None:
    """Do all of it side by side until one ends, then end the others; raises what that one raised."""
    tasks = [asyncio.ensure_future(it) for it in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
