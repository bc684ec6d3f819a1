"""Work in turns: what is short does not wait, what is long lets others have the loop, one turn each time."""

from __future__ import annotations

import asyncio
import time

from streams.concurrency.fairness import A_FEW, TURN_SECONDS, chunks, in_turns, yield_if_due


def work(seconds: float) -> None:
    """Keep the processor busy."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def test_short_work_does_not_wait() -> None:
    """Who has little to do goes on at once, and the loop does not come round for it."""
    came_round = []
    asyncio.get_running_loop().call_soon(came_round.append, True)
    for _ in range(100):
        await yield_if_due()
    assert [] == came_round


async def test_one_turn_each_time_that_the_loop_comes_round() -> None:
    """However many have long work to do, the loop stands still for one turn, and not for one of each."""
    long, processors = 3 * TURN_SECONDS, 8
    latest, done = 0.0, 0

    async def processor() -> None:
        nonlocal done
        for _ in range(5):
            await yield_if_due()
            work(long)
        done += 1

    processors_done = asyncio.gather(*(processor() for _ in range(processors)))
    while done < processors:
        looked = time.perf_counter()
        await asyncio.sleep(0)
        latest = max(latest, time.perf_counter() - looked)
    await processors_done
    assert latest < processors * long / 2


async def test_all_have_turns() -> None:
    """Turns are given in the order in which they are asked for, so nobody waits for more than one of each other."""
    order: list[int] = []

    async def processor(number: int) -> None:
        for _ in range(4):
            await yield_if_due()
            order.append(number)
            work(2 * TURN_SECONDS)

    await asyncio.gather(*(processor(number) for number in range(3)))
    assert [0, *[0, 1, 2] * 3, 1, 2] == order


async def test_a_few_things_go_along_with_what_was_done_before() -> None:
    """Whoever has few of them does not get in line, though his turn is over; who has many does, between chunks."""
    came_round = 0

    async def count(things: int) -> int:
        before = came_round
        work(2 * TURN_SECONDS)
        assert things == sum([len(some) async for some in in_turns(range(things)) if work(TURN_SECONDS) is None])
        return came_round - before

    async def others() -> None:
        nonlocal came_round
        while True:
            await yield_if_due()
            work(TURN_SECONDS)
            came_round += 1

    await yield_if_due()
    async with asyncio.timeout(20):
        busy = asyncio.create_task(others())
        try:
            assert (0, 0, 2) == (await count(0), await count(A_FEW), await count(2 * A_FEW + 1))
        finally:
            busy.cancel()


async def test_who_gives_up_holds_nobody_up() -> None:
    """Somebody who is cancelled while waiting leaves the turn to the next in line."""

    async def processor() -> None:
        await yield_if_due()
        work(2 * TURN_SECONDS)

    first, gone, stays = (asyncio.create_task(processor()) for _ in range(3))
    await asyncio.sleep(0)  # the first has its turn, the others are in line
    gone.cancel()
    await asyncio.wait_for(asyncio.gather(first, stays), 1.0)
    assert gone.cancelled()


def test_few() -> None:
    """All things come, in their order, some at a time."""
    groups = list(chunks(range(45)))
    assert [20, 20, 5] == [len(group) for group in groups]
    assert list(range(45)) == [number for group in groups for number in group]
