"""An outage that somebody waits for is among the worker's notices, for as long as somebody waits."""

from __future__ import annotations

import asyncio

import pytest

from streams.concurrency import retry
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel
from streams.notices import NOTICES


def waited_for(what: str) -> list[str]:
    return [notice.text for notice in NOTICES.all if (notice.kind, notice.about) == ("waiting", what)]


async def noted(what: str) -> list[str]:
    async with asyncio.timeout(5):
        while not (found := waited_for(what)):
            await asyncio.sleep(0.01)
    return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every outage is shown."""
    monkeypatch.setattr(retry, "PATIENCE_SECONDS", 0.0)


async def test_it_is_over_when_it_answers() -> None:
    """What is asked, and what it says."""
    is_down = True

    async def ask() -> int:
        if is_down:
            raise OSError("nobody there")
        return 7

    waiting = asyncio.create_task(until_it_answers(ask, "a store that comes back", OSError))
    assert ["a store that comes back: nobody there: waiting for it"] == await noted("a store that comes back")
    is_down = False
    assert 7 == await waiting
    assert [] == waited_for("a store that comes back")


async def test_it_is_over_when_nobody_waits() -> None:
    """A log that was given up is nothing to look at."""

    async def ask() -> None:
        raise OSError("nobody there")

    waiting = asyncio.create_task(until_it_answers(ask, "a store that is given up", OSError))
    await noted("a store that is given up")
    await cancel(waiting)
    assert [] == waited_for("a store that is given up")
