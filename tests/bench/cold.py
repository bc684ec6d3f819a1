"""A million orders: commands to orders that the worker does not have in memory, so that each is loaded from Cassandra.

The orders are opened through two workers. A new order costs them as much as a cold one, since they have to look whether
there is one. The worker that is then measured starts with nothing in its cache, and has one so small (5,000 orders) that
hardly any is found there. Pekko is asked for as many orders, which it has not seen before: it
looks for their snapshots and events too, and finds none, which does it a favour.
"""

from __future__ import annotations

from streams.progress import Meter
from tests.bench.cassandra import cassandra
from tests.bench.commands import PEKKO, PEKKO_WARM_UPS, WARM_UP, cost
from tests.bench.load import Load
from tests.bench.report import Row
from tests.bench.rivals.pekko import IN_FLIGHT, pekko
from tests.bench.space import space
from tests.bench.usage import Spent, Usage, servers
from tests.bench.worker import say
from tests.e2e.worker import free_port

SMALL_CACHE = "10000"
"""An order and the id of a command weigh one each."""


async def measure_cold(orders: int, count: int, rounds: int) -> list[Row]:
    """Open so many, then rounds of `count` commands to some of them at random."""
    rates: list[float] = []
    closed: list[float] = []
    theirs: list[float] = []
    spent: list[Spent] = []
    their_spent: list[Spent] = []
    async with space() as here, cassandra() as store, pekko() as rival:
        load = Load(here.settings, orders)
        async with load.clients():
            with here.worker(port=free_port()) as one, here.worker(port=free_port()) as other:
                load.workers = [one, other]
                await here.all_served(*load.workers)
                usage = Usage({**servers(), "workers": [one.pid, other.pid]})
                with Meter("cold: opening orders", orders, "orders") as meter:
                    await load.open(meter.advance)
                opened = usage.spent(orders)
            for _ in range(PEKKO_WARM_UPS):
                await rival.round(WARM_UP, 5_000)
            with here.worker(port=free_port(), CACHE_WEIGHT=SMALL_CACHE) as running:
                await here.all_served(running)
                load.workers = [running]
                await store.rests()
                for number in range(1, rounds + 1):
                    usage = Usage({**servers(), "worker": [running.pid]})
                    rates.append((await load.round(count)).rate)
                    await store.rests()
                    spent.append(usage.spent(count))
                    usage = Usage({**servers(), "worker": [rival.pid]})
                    theirs.append(await rival.round(count // 2, orders))
                    await store.rests()
                    their_spent.append(usage.spent(count // 2))
                    closed.append((await load.round(count // 2, in_flight=IN_FLIGHT)).rate)
                    await store.rests()
                    said = f"{rates[-1]:,.0f}/s, {IN_FLIGHT:,} in flight {closed[-1]:,.0f}/s, Pekko {theirs[-1]:,.0f}/s"
                    say(f"cold, round {number}: {said}")
    name = f"{orders:,} orders, cold"
    return [
        Row(f"commands/s, {name}, open load", rates, PEKKO, theirs),
        Row(f"commands/s, {name}, {IN_FLIGHT:,} in flight", closed, PEKKO, theirs),
        Row(f"new orders/s, two workers, {orders:,} of them", [orders / opened.seconds]),
        *(Row(f"CPU us/new order of {process}", [cpu]) for process, cpu in opened.each.items()),
        *cost(f"{name}, open load", spent, their_spent),
    ]
