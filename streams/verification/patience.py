"""For work that has an end, and a user who waits for it: ask a store again for some seconds, then give up."""

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
    """What the store says; it may be out of reach for a few seconds. Raises `Unavailable`."""
    return await retried(ask, [PAUSE * 2**attempt for attempt in range(ATTEMPTS - 1)], Unavailable)
