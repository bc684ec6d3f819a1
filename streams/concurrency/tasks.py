"""Ends of tasks: asyncio's own functions leave tasks running behind the caller's back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection, Coroutine, Iterable
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


async def all_done(work: Iterable[Awaitable[object]]) -> None:
    """Await all work side by side, to the end, and then raise the first error.

    `asyncio.gather` raises at once, and the work that it leaves running may still act when its caller has moved on.
    """
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def each_done(*work: Awaitable[object]) -> None:
    """Await all work side by side, to the end; errors are logged and do not keep the rest from being done.

    For work that ends something, behind which more has to be ended.
    """
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.error("not ended as it should: %r", outcome, exc_info=outcome)
        elif isinstance(outcome, BaseException):
            raise outcome


async def all_of(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all work, done side by side. Raises the first error, after ending the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end_all(tasks)


async def end_all(tasks: Collection[asyncio.Future[Any]]) -> None:
    """End tasks, and wait until they have ended; what they raise is of no interest any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def cancel(task: asyncio.Task[Any]) -> None:
    """End a task, and wait until it has ended.

    The task's own error is logged and not raised: the caller has work of its own to finish. Raises `CancelledError`
    when the caller itself is cancelled meanwhile.
    """
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s had failed: %r", task.get_name(), error, exc_info=error)


async def until_one_ends(*work: Awaitable[None]) -> None:
    """Do all work side by side until one ends, then end the others. Raises the error of the one that ended."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
