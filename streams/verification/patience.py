"""Retries for a command that a user waits for: a store is asked again for some seconds, then the error is raised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from streams.concurrency.retry import retried
from streams.journal.port import Unavailable

T = TypeVar("T")

ATTEMPTS = 5
PAUSE = 0.2
"""Seconds before the second attempt; each further pause is twice as long."""


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of a store, asked up to `ATTEMPTS` times while it is unavailable. Raises `Unavailable`."""
    return await retried(ask, [PAUSE * 2**attempt for attempt in range(ATTEMPTS - 1)], Unavailable)
