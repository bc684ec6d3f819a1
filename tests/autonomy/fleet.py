"""The whole shop as processes: one worker of each context, and what can be taken from it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.autonomy.results import Result
from tests.autonomy.shoppers import Shoppers
from tests.chaos.servers import Server
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, USERS, Worker

MODULES = {"products": PRODUCTS, "users": USERS, "checkout": CHECKOUT, "projections": PROJECTIONS, "orders": ORDERS}
BROKER = "broker"
NEEDED = {"products", "checkout", "projections", BROKER}
"""Without one of these no order is confirmed: `projections` publishes what the journals hold."""
TYPES = "order", "product", "user", "checkout"
BEFORE_SECONDS = AFTER_SECONDS = 2.0
SETTLE_SECONDS = 90.0


@dataclass
class Fleet:
    """A running shop. `kafka` is there where the broker may be stopped."""

    system: System
    kafka: Server | None = None
    workers: dict[str, Worker] = field(default_factory=dict)

    async def start(self, names: Collection[str] = MODULES.keys()) -> None:
        """Start these, each in the folder that it had before; return when the whole shop serves."""
        for name in names:
            before = self.workers.get(name)
            self.workers[name] = self.system.start(MODULES[name], before.folder if before else self._folder(name))
        await asyncio.gather(*(self.system.all_served(worker, seconds=120) for worker in self.workers.values()))

    def _folder(self, name: str) -> Path:
        return self.system.data / name

    async def take_down(self, names: Collection[str]) -> None:
        """kill -9 of workers; the broker is stopped."""
        for name in set(names) - {BROKER}:
            self.workers[name].signal(signal.SIGKILL)
            await asyncio.to_thread(self.workers[name].end)
        if BROKER in names:
            assert self.kafka is not None
            await self.kafka.stop()

    async def bring_back(self, names: Collection[str]) -> None:
        """Start them again; return when the whole shop serves."""
        if BROKER in names:
            assert self.kafka is not None
            await self.kafka.start()
        await self.start(set(names) - {BROKER})

    async def without(self, names: Sequence[str], seconds: float) -> Result:
        """Orders are placed before, while and after these are down for `seconds`; all must end as they have to."""
        shoppers = Shoppers(self.system, "-".join(names))
        await shoppers.stock()
        shoppers.begin()
        await eventually(shoppers.ended, SETTLE_SECONDS, "no order has ended")
        await asyncio.sleep(BEFORE_SECONDS)  # of orders, before anything happens
        down = time.monotonic()
        await self.take_down(names)
        gone = time.monotonic()
        await asyncio.sleep(seconds)
        returning = time.monotonic()
        ended = await shoppers.ended()
        waiting = [it for it in shoppers.orders if it.placed_at > gone and it.id not in ended]
        await self.bring_back(names)
        back = time.monotonic()
        await asyncio.sleep(AFTER_SECONDS)
        await shoppers.end()
        await shoppers.all_ended(SETTLE_SECONDS)
        meanwhile = [it for it in shoppers.orders if down < it.placed_at <= back]
        ended = await shoppers.ended()
        if NEEDED & set(names):
            early = [it for it in meanwhile if gone < it.placed_at and ended[it.id][1] < returning]
            assert {"cancelled"} >= {it.ends for it in early}, f"ended without {names}: {early}"
        result = Result(
            " and ".join(names),
            back - down,
            len(shoppers.orders),
            len(meanwhile),
            len(waiting),
            shoppers.resumed,
            sum(ended[it.id][0] == "confirmed" for it in meanwhile),
            max([ended[it.id][1] for it in meanwhile], default=back) - back,
            *await shoppers.lost_and_doubled(),
        )
        await shoppers.check_users(SETTLE_SECONDS)
        await shoppers.check_stock(self.workers["projections"], SETTLE_SECONDS)
        for type in TYPES:
            assert [] == await self.system.read(f"{type}-dead-letters")
        return result
