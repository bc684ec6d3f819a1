"""Memory of a worker: as it starts, and for each 100,000 aggregates that it keeps in its cache."""

from __future__ import annotations

import itertools

from tests.bench.load import Load, ids
from tests.bench.report import Row
from tests.bench.space import space
from tests.bench.worker import say
from tests.e2e.worker import free_port

BIG_CACHE = str(2**40)
STEP = 50_000
PER = 100_000


async def measure_memory(steps: int) -> list[Row]:
    """Open 50,000 orders so many times, in a worker that forgets none.

    The first also fill the queues and buffers of a worker under load, so those after them are what counts.
    """
    async with space(CACHE_BYTES=BIG_CACHE) as here:
        with here.worker(port=free_port()) as running:
            await here.all_served(running)
            memory = [running.memory_mb()]
            load = Load(here.settings, 0, [running])
            for step in range(steps):
                async with load.clients():
                    await load.open(ids(range(step * STEP, (step + 1) * STEP)))
                memory.append(running.memory_mb())
                say(f"memory: {(step + 1) * STEP:,} orders in memory, {memory[-1]:,.0f} MB")
    grown = [(after - before) * PER / STEP for before, after in itertools.pairwise(memory[1:])]
    return [
        Row("memory of a worker of orders as it starts, MB", memory[:1]),
        Row(f"- with {STEP:,} orders in memory, MB", memory[1:2]),
        Row(f"- for each {PER:,} orders more, MB", grown),
    ]
