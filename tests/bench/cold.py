"""A million orders: commands to orders that the worker does not have in memory, so that each is loaded from Cassandra.

They are written into the journal before (`opened.py`). The worker starts with nothing in its cache, and has one so
small (5,000 orders) that hardly any is found there. Pekko is asked for as many orders, which it has not seen before: it
looks for their snapshots and events too, and finds none, which does it a favour.

New orders are measured beside: a worker has to look in Cassandra whether there is one already, so they are cold too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable

from streams.cli.progress import Meter
from tests.bench.cassandra import cassandra
from tests.bench.commands import PEKKO, PEKKO_WARM_UPS, cost
from tests.bench.load import Load, Round, ids
from tests.bench.opened import write_opened
from tests.bench.report import Row
from tests.bench.rivals.pekko import IN_FLIGHT, WARM_UP, pekko
from tests.bench.space import space
from tests.bench.usage import Spent, Usage, servers
from tests.bench.worker import say
from tests.e2e.worker import free_port

SMALL_CACHE = "7000000"
"""Bytes: some 5,000 orders."""


OPEN, CLOSED, NEW = "open load", f"{IN_FLIGHT:,} in flight", "new orders"


async def measure_cold(orders: int, count: int, rounds: int) -> list[Row]:
    """With so many orders; rounds of `count` commands to some of them at random, then as many new ones."""
    rates: defaultdict[str, list[float]] = defaultdict(list)
    spent: defaultdict[str, list[Spent]] = defaultdict(list)
    async with space() as here, cassandra() as store, pekko() as rival:

        async def round(name: str, count: int, pid: int, measured: Awaitable[float]) -> None:
            usage = Usage({**servers(), "worker": [pid]})
            rates[name].append(await measured)
            await store.rests()
            spent[name].append(usage.spent(count))
            say(f"cold: {name}, round {len(rates[name])}: {rates[name][-1]:,.0f}/s")

        with Meter("cold: orders in the journal", orders, "orders") as meter:
            await write_opened(here.settings, ids(range(orders)), meter.advance)
        for _ in range(PEKKO_WARM_UPS):
            await rival.round(WARM_UP, 5_000)
        with here.worker(port=free_port(), CACHE_BYTES=SMALL_CACHE) as running:
            await here.all_served(running)
            load = Load(here.settings, orders, [running])
            async with load.clients():
                await store.rests()
                for number in range(rounds):
                    new = ids(range(orders + number * count // 2, orders + (number + 1) * count // 2))
                    await round(OPEN, count, running.pid, _rate(load.round(count)))
                    await round(PEKKO, count // 2, rival.pid, rival.round(count // 2, orders))
                    await round(CLOSED, count // 2, running.pid, _rate(load.round(count // 2, in_flight=IN_FLIGHT)))
                    await round(NEW, len(new), running.pid, _rate(load.open(new)))
    name = f"{orders:,} orders, cold"
    return [
        Row(f"commands/s, {name}, open load", rates[OPEN], PEKKO, rates[PEKKO]),
        Row(f"commands/s, {name}, {IN_FLIGHT:,} in flight", rates[CLOSED], PEKKO, rates[PEKKO]),
        Row(f"commands/s, new orders beside {orders:,} others, open load", rates[NEW]),
        *cost(f"{name}, open load", spent[OPEN], spent[PEKKO]),
    ]


async def _rate(round: Awaitable[Round]) -> float:
    return (await round).rate
