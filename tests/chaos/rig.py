"""A system under load for one fault, and what must hold when the fault is over."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.results import Result
from tests.chaos.servers import Server
from tests.e2e.client import eventually
from tests.e2e.invariants import check_all
from tests.e2e.load import Load
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

PACE = 300
"""Commands a second, in the long form; a third of them in the short one, so that two cores have time for the fault."""
KEYS = 200
BEFORE_SECONDS = AFTER_SECONDS = 2.0
READY_SECONDS = 120.0


@dataclass
class UnderLoad:
    """Workers on servers that may fail. `full`: as long and as often as `make chaos` does it."""

    system: System
    full: bool
    results: list[Result]
    orders: list[Worker] = field(default_factory=list)
    projections: list[Worker] = field(default_factory=list)

    @property
    def outage(self) -> float:
        """Seconds that a server is gone."""
        return 20.0 if self.full else 3.0

    @property
    def pace(self) -> float:
        """Commands a second, where a fault does not say it."""
        return PACE if self.full else PACE / 3

    async def start(self, orders: int = 2, projections: int = 1, **settings: str) -> None:
        """Start workers that serve all partitions."""
        for _ in range(orders):
            self.start_orders(**settings)
        for _ in range(projections):
            self.start_projections(**settings)
        await self.ready()

    def start_orders(self, module: str = ORDERS, **settings: str) -> Worker:
        self.orders.append(self.system.start(module, **settings))
        return self.orders[-1]

    def start_projections(self, folder: Path | None = None, **settings: str) -> Worker:
        self.projections.append(self.system.start(PROJECTIONS, folder, **settings))
        return self.projections[-1]

    async def kill(self, worker: Worker) -> None:
        """kill -9."""
        worker.signal(signal.SIGKILL)
        await asyncio.to_thread(worker.end)
        (self.orders if worker in self.orders else self.projections).remove(worker)

    async def ready(self) -> None:
        """Return when the workers serve all partitions. One may have none, if the others have them all."""

        async def served() -> bool:
            for workers in filter(None, (self.orders, self.projections)):
                found = await asyncio.gather(*map(self.system.partitions, workers))
                if None in found or sorted(p for ps in found for p in ps or ()) != [0, 1, 2, 3]:
                    return False
            return True

        workers = [*self.orders, *self.projections]
        await eventually(served, READY_SECONDS, lambda: "\n".join(worker.tail() for worker in workers))

    @asynccontextmanager
    async def under_load(self, fault: str, tried: int = 1, pace: float = 0.0) -> AsyncIterator[Load]:
        """Load before, during and after what the body does to the system; in the end all invariants, and a result."""
        async with self.at_rest(fault, tried) as load:
            load.begin(pace or self.pace)
            await load.served()
            await asyncio.sleep(BEFORE_SECONDS)  # of load, before anything happens
            yield load
            await load.served()
            await asyncio.sleep(AFTER_SECONDS)
            await load.end()

    @asynccontextmanager
    async def at_rest(self, fault: str, tried: int = 1) -> AsyncIterator[Load]:
        """The same without a load but what the body sends."""
        load = Load(self.system, [f"order-{number}" for number in range(KEYS)])
        await load.open_orders()
        yield load
        pause = await load.longest_pause()
        await load.answered()
        await self.ready()
        counts = await check_all(load, self.projections[0] if self.projections else None)
        self.results.append(Result(fault, tried, *counts, pause))


@dataclass(kw_only=True)
class Rig(UnderLoad):
    """The same on one Kafka and one Cassandra."""

    kafka: Server
    cassandra: Server
