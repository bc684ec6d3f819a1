"""Who waits for a commit is woken when it is there, and costs the others nothing."""

from __future__ import annotations

import asyncio
import time

import pytest

from projections.applying.waits import MostAtOnce, Waits
from projections.http.forwarding import Busy
from projections.http.problems import NotNow


async def wait(waits: Waits, nr: int, partition: int = 0, name: str = "orders") -> None:
    with waits.waiting(partition, name, nr) as reached:
        await asyncio.wait([reached])
        reached.result()


async def test_only_who_has_come_is_woken() -> None:
    """A commit wakes those who wait for it or an older one, of its partition and table, and nobody else."""
    waits = Waits()
    tasks = {nr: asyncio.create_task(wait(waits, nr)) for nr in (5, 3, 9, 3_000_000)}
    elsewhere = [asyncio.create_task(wait(waits, 1, 1)), asyncio.create_task(wait(waits, 1, 0, "users"))]
    await asyncio.sleep(0)
    assert (["orders", "users"], ["orders"]) == (sorted(waits.awaited(0)), waits.awaited(1))
    waits.reached(0, "orders", 5)
    async with asyncio.timeout(5):
        await asyncio.gather(tasks[5], tasks[3])
    assert not any(task.done() for task in (tasks[9], tasks[3_000_000], *elsewhere))
    waits.fail("this worker ends")
    for task in (tasks[9], tasks[3_000_000], *elsewhere):
        with pytest.raises(NotNow, match="this worker ends"):
            await task
    assert [] == waits.awaited(0)


async def test_who_gives_up_leaves_nothing_behind() -> None:
    """Those whose time is up are forgotten, also while others wait for longer."""
    waits = Waits()
    with waits.waiting(0, "orders", 10**9) as last:
        for _ in range(1_000):
            with waits.waiting(0, "orders", 10**9 - 1):
                pass
        [queue] = waits._queues.values()
        assert len(queue._heap) <= 3
        waits.reached(0, "orders", 10**9)
        assert last.done()
    assert {} == waits._queues


async def test_a_thousand_waits_cost_a_batch_nothing() -> None:
    """A batch looks at nobody who waits for what is still to come."""
    waits = Waits()
    tasks = [asyncio.create_task(wait(waits, 10**9 + nr)) for nr in range(10_000)]
    await asyncio.sleep(0)
    began = time.process_time()
    for nr in range(1_000):
        waits.reached(0, "orders", nr)
    assert time.process_time() - began < 0.5
    waits.fail("over")
    await asyncio.gather(*tasks, return_exceptions=True)


def test_bound() -> None:
    """One more than may wait is told at once, in words that are true, until another one waits no longer."""
    bound = MostAtOnce(2)
    with bound.one_more():
        with bound.one_more(), pytest.raises(Busy, match="busy: 2 requests"), bound.one_more():
            pass
        with bound.one_more():
            pass
    assert 0 == bound.now
