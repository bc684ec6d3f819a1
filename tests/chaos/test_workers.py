"""Workers are killed, paused and put back in time under load."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests import machine_tools
from tests.chaos.rig import Rig

HOUR = 3600


async def test_workers_killed_at_random(rig: Rig) -> None:
    """kill -9 of a random worker, a new one in its place, again and again: commands and tables are whole."""
    await rig.start(orders=2, projections=2)
    times = 8 if rig.full else 2
    async with rig.under_load("kill -9 of random workers", times) as load:
        for number in range(times):
            workers, start = (rig.orders, rig.start_orders) if number % 2 else (rig.projections, rig.start_projections)
            await rig.kill(random.choice(workers))
            start()
            await load.served()
            await rig.ready()


@pytest.mark.full
async def test_workers_paused_at_random(rig: Rig) -> None:
    """SIGSTOP of a random worker until the others have its partitions, then SIGCONT: what the zombie still does has no
    effect, and it joins again."""
    await rig.start(orders=2, projections=2)
    times = 5
    async with rig.under_load("SIGSTOP until replaced, SIGCONT", times) as load:
        for number in range(times):
            workers = rig.orders if number % 2 else rig.projections
            zombie = workers.pop(random.randrange(len(workers)))
            zombie.signal(signal.SIGSTOP)
            await rig.ready()  # the others have all partitions
            await load.served()
            zombie.signal(signal.SIGCONT)
            workers.append(zombie)
            await rig.ready()
    assert all(worker.running for worker in [*rig.orders, *rig.projections])


async def test_clock_stepped_backwards(rig: Rig, tmp_path: Path) -> None:
    """The wall clock of the workers jumps an hour back, and a day ahead, under load: nothing depends on it."""
    clock = tmp_path / "clock"
    clock.write_bytes(bytes(8))
    await rig.start(LD_PRELOAD=str(machine_tools.stepped_clock(tmp_path)), CLOCK_FILE=str(clock))
    steps = [-HOUR, 24 * HOUR, 0, -24 * HOUR] if rig.full else [-HOUR, 0]
    async with rig.under_load("wall clock stepped, an hour back first", len(steps)) as load:
        for step in steps:
            with clock.open("r+b") as file:  # in place: the workers have it mapped
                file.write(step.to_bytes(8, sys.byteorder, signed=True))
            await asyncio.sleep(3)
            await load.served()
    logs = (await rig.system.commits("orders", "order")).values()
    assert any(
        before.recorded_at - after.recorded_at > timedelta(minutes=50)
        for log in logs
        for before, after in pairwise(log)
    )
