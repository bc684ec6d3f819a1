"""What many ask for at once is asked once, not again within some seconds, and nobody waits for it without end."""

from __future__ import annotations

import asyncio

import pytest

from projections.console.shared import Shared


class Counted:
    """Counts how often it is asked, and answers with the count when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may = asyncio.Event()
        self.may.set()

    async def __call__(self) -> int:
        self.asked += 1
        await self.may.wait()
        return self.asked


async def test_asked_once_for_all() -> None:
    """Ten who ask together, and one within the time, get one answer; after it there is a new one."""
    counted = Counted()
    shared = Shared(counted, seconds=0.05, patience=1.0)
    assert [1] * 10 == await asyncio.gather(*(shared.get() for _ in range(10)))
    assert 1 == await shared.get()
    await asyncio.sleep(0.06)
    assert 2 == await shared.get()


async def test_nobody_waits_without_end() -> None:
    """Who has waited long enough is told so; the answer goes on coming, for who asks later."""
    counted = Counted()
    counted.may.clear()
    shared = Shared(counted, seconds=60.0, patience=0.02)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await shared.get()
    counted.may.set()
    assert 1 == await shared.get()


async def test_a_failure_is_told_and_not_kept() -> None:
    """Everybody who waits hears of it; it is asked again when the time is over."""

    async def fails() -> None:
        raise ValueError("no")

    shared = Shared(fails, seconds=0.0, patience=1.0)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await shared.get()
