"""One, two and three workers on the partitions of one topic: what another worker gives, and where the machine ends it.

They share the machine's cores with Kafka, Cassandra and the load. So beside the rate stands the processor time of a
command in each process, which is what decides on machines of their own, and how many cores were busy: when that is all
of them, the machine is the limit, and not a worker.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict

from tests.bench.load import Load
from tests.bench.report import Row
from tests.bench.space import space
from tests.bench.usage import Spent, Usage, servers
from tests.bench.worker import Worker, say
from tests.e2e.worker import free_port

WORKERS = (1, 2, 3)
WARM_UP = 10_000
LOGS = 6
"""Shared evenly by each number of workers."""
NAMES = ("one worker", "two workers", "three workers")


async def measure_workers(count: int, orders: int, rounds: int) -> list[Row]:
    """Rounds of `count` commands with one worker, then a second beside it, then a third; and again."""
    rates: defaultdict[int, list[float]] = defaultdict(list)
    spent: defaultdict[int, list[Spent]] = defaultdict(list)
    async with space(LOGS=str(LOGS)) as here:
        load = Load(here.settings, orders)
        async with load.clients():
            for round in range(1, rounds + 1):
                with contextlib.ExitStack() as stack:
                    running: list[Worker] = []
                    for many in WORKERS:
                        running.append(stack.enter_context(here.worker(port=free_port())))
                        await here.all_served(*running)
                        load.workers = running
                        await (load.round(WARM_UP) if load.sent else load.open())
                        usage = Usage({**servers(), "workers": [it.pid for it in running], "the load": [os.getpid()]})
                        rates[many].append((await load.round(count)).rate)
                        spent[many].append(usage.spent(count))
                        say(f"{NAMES[many - 1]}, round {round}: {rates[many][-1]:,.0f} commands/s")
    rows = []
    for many, name in zip(WORKERS, NAMES, strict=True):
        rival = (NAMES[0], rates[1]) if many > 1 else ("", [])
        rows.append(Row(f"commands/s, {name}", rates[many], *rival))
    for many, name in zip(WORKERS, NAMES, strict=True):
        for process in spent[many][0].each:
            rows.append(Row(f"CPU us/command of {process}, {name}", [it.each[process] for it in spent[many]]))
        busy = [it.total * count / it.seconds / 1e6 for it in spent[many]]
        rows.append(Row(f"cores busy of {os.cpu_count()}, {name}", busy))
        limit = [(os.cpu_count() or 1) / it.total * 1e6 for it in spent[many]]
        rows.append(Row(f"commands/s if all cores did nothing else, {name}", limit))
    return rows
