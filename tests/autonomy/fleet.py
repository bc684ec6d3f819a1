"""The whole shop as processes: one worker of each context, and what can be taken from it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.autonomy.results import Result
from tests.autonomy.shoppers import Shoppers
from tests.chaos.servers import Server
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, USERS, Worker

MODULES = {
    "products": PRODUCTS,
    "users": USERS,
    "checkout": CHECKOUT,
    "timers": TIMERS,
    "projections": PROJECTIONS,
    "orders": ORDERS,
}
BROKER = "broker"
NEEDED = {"products", "checkout", "projections", BROKER}
"""Without one of these no order is confirmed: `projections` publishes what the journals hold."""
TYPES = "order", "product", "user", "checkout", "timer", "email"
START_SECONDS = 180.0
BEFORE_SECONDS = AFTER_SECONDS = 1.0
SETTLE_SECONDS = 150.0
PAUSED_SECONDS = 12.0
"""Past the sessions of both groups, that of the commands and that of what is heard."""

Act = Callable[[], Awaitable[None]]


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
        await asyncio.gather(
            *(self.system.all_served(worker, seconds=START_SECONDS) for worker in self.workers.values())
        )

    async def mend(self) -> None:
        """Start what does not run."""
        if self.kafka is not None:
            await self.kafka.start()
        await self.start([name for name in MODULES if name not in self.workers or not self.workers[name].running])

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

        async def back() -> None:
            await self.bring_back(names)

        needed = bool(NEEDED & set(names))
        return await self._through(" and ".join(names), lambda: self.take_down(names), back, seconds, needed)

    async def with_a_paused_checkout(self) -> Result:
        """The same while a checkout worker is stopped until another one has its partitions, and then goes on."""
        paused, other = self.workers["checkout"], self.system.start(CHECKOUT)
        await self.system.all_served(paused, other, seconds=START_SECONDS)

        async def down() -> None:
            paused.signal(signal.SIGSTOP)

        async def back() -> None:
            await self.system.all_served(other, seconds=START_SECONDS)
            paused.signal(signal.SIGCONT)
            await self.system.all_served(paused, other, seconds=START_SECONDS)

        what = "one of two checkouts, paused until replaced"
        result = await self._through(what, down, back, PAUSED_SECONDS, False)
        other.signal(signal.SIGTERM)
        await asyncio.to_thread(other.end)
        await self.system.all_served(paused, seconds=START_SECONDS)
        return result

    async def _through(self, what: str, take_down: Act, bring_back: Act, seconds: float, needed: bool) -> Result:
        """What happens to orders; `needed`: none can be confirmed meanwhile."""
        shoppers = Shoppers(self.system, what.partition(",")[0].replace(" ", "-"))
        await shoppers.stock()
        shoppers.begin()
        await eventually(shoppers.ended, SETTLE_SECONDS, "no order has ended")
        await asyncio.sleep(BEFORE_SECONDS)  # of orders, before anything happens
        down = time.monotonic()
        await take_down()
        gone = time.monotonic()
        await asyncio.sleep(seconds)
        returning, ended = time.monotonic(), await shoppers.ended()
        waiting = [it for it in shoppers.orders if it.placed_at > gone and it.id not in ended]
        await bring_back()
        back = time.monotonic()
        await asyncio.sleep(AFTER_SECONDS)
        await shoppers.end()
        await shoppers.all_ended(SETTLE_SECONDS)
        meanwhile = [it for it in shoppers.orders if down < it.placed_at <= back]
        await shoppers.check_users(SETTLE_SECONDS)
        # What is given back for the last orders comes behind their ends: journals are looked at when it is there.
        await shoppers.check_stock(self.workers["projections"], SETTLE_SECONDS)
        ended = await shoppers.ended()
        if needed:
            early = [it for it in meanwhile if gone < it.placed_at and ended[it.id][1] < returning]
            assert {"cancelled"} >= {it.ends for it in early}, f"ended without {what}: {early}"
        result = Result(
            what,
            back - down,
            len(shoppers.orders),
            len(meanwhile),
            len(waiting),
            shoppers.resumed,
            sum(ended[it.id][0] == "confirmed" for it in meanwhile),
            max([ended[it.id][1] for it in meanwhile], default=back) - back,
            *await shoppers.lost_and_doubled(),
        )
        for type in TYPES:
            assert [] == await self.system.read(f"{type}-dead-letters")
        return result
