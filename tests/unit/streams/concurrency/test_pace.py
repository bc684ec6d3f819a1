"""Who asks again and again takes some at a time once they come fast, and nobody else waits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.concurrency import pace
from streams.concurrency.pace import ENOUGH, Pace

SECONDS = 0.01


class Clock:
    """The time of a loop: it goes on when somebody sleeps, or something takes a while."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    loop = SimpleNamespace(time=lambda: clock.now)
    monkeypatch.setattr(pace, "asyncio", SimpleNamespace(get_running_loop=lambda: loop, sleep=clock.sleep))
    return clock


async def turns(clock: Clock, count: int, apart: float, things: int) -> None:
    """So many turns that take so long, each of which brings so many things."""
    paced = Pace(SECONDS)
    for _ in range(count):
        await paced.keep(things)
        clock.now += apart


@pytest.mark.parametrize("things", [1, 3])
async def test_what_comes_alone_does_not_wait(clock: Clock, things: int) -> None:
    """Fifty a second are asked for as they come."""
    await turns(clock, 100, 0.02, things)
    assert [] == clock.slept


async def test_a_few_pieces_do_not_wait(clock: Clock) -> None:
    """What comes now and then may come in pieces."""
    await turns(clock, 4, 0.001, 2)
    assert [] == clock.slept


async def test_what_comes_fast_is_taken_together(clock: Clock) -> None:
    """Turns begin so many seconds apart then, however short they are."""
    began = clock.now
    await turns(clock, 100, 0.001, 5)
    assert 90 <= (clock.now - began) / SECONDS <= 100
    assert all(0 < seconds <= SECONDS for seconds in clock.slept)


async def test_many_at_a_time_do_not_wait(clock: Clock) -> None:
    """A backlog is read as fast as it can be."""
    await turns(clock, 100, 0.001, ENOUGH)
    assert [] == clock.slept


async def test_nothing_comes(clock: Clock) -> None:
    """Who has found nothing has waited already."""
    await turns(clock, 100, 0.001, 0)
    assert [] == clock.slept


async def test_who_asks_when_he_has_his_answer_hardly_waits(clock: Clock) -> None:
    """Waiting brings no company there: it is tried more and more seldom."""
    await turns(clock, 1_000, 0.003, 1)
    assert len(clock.slept) < 15
    slept = len(clock.slept)
    await turns(clock, 1, 0.003, 1)
    assert slept == len(clock.slept)


async def test_company_comes_again(clock: Clock) -> None:
    """Whoever has given up waiting takes it up when it helps."""
    paced = Pace(SECONDS)
    for things, count in ((1, 100), (5, 1_000)):
        clock.slept.clear()
        for _ in range(count):
            await paced.keep(things)
            clock.now += 0.001
    assert len(clock.slept) > 800
