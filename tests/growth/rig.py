"""Orders under load whose logs are split and merged, and workers that are killed or stopped in the middle of that."""

from __future__ import annotations

import asyncio
import math
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from streams.cli.logs import planned
from streams.journal.layout import Layout, LogSpan
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.membership.group import KafkaGroup
from streams.open_journal import open_journal
from streams.ownership.layout_watch import announce
from tests.e2e.client import PARTITIONS, eventually, partition_of
from tests.e2e.invariants import check_all
from tests.e2e.load import Load
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker
from tests.growth.followers import Reader, Streams
from tests.growth.results import Change, Changes

PACE = 500
"""Commands a second."""
KEYS = 200
LEAST_ANSWERS = 10
"""Of the rows that a reader asks for while logs change."""
READY_SECONDS = DONE_SECONDS = 90.0
CALM_SECONDS = 2.0
TICK = 0.02
MARGIN_SECONDS = 0.5


@dataclass
class Plan:
    """A change of the layout, and what it concerns.

    ending, beginning   the logs that are to end, and those that begin behind them
    workers             which worker has which seat
    own                 the slices of the logs at each worker, before
    """

    layout: Layout
    ending: list[LogSpan]
    beginning: list[LogSpan]
    workers: Mapping[int, Worker]
    own: Mapping[int, set[int]]

    @property
    def parent(self) -> Worker:
        """A worker that has a log which is to end."""
        return self.workers[random.choice(self.ending).seat]

    @property
    def child(self) -> Worker:
        """A worker at which a log begins; one that has none of those that end, if there is such a one."""
        seats = {log.seat for log in self.beginning}
        ends = {id(self.workers[log.seat]) for log in self.ending}
        return self.workers[min(seats, key=lambda seat: id(self.workers[seat]) in ends)]

    def hit(self, victim: Worker) -> set[int]:
        """The slices that wait for this worker, or for who takes over from it."""
        found = {slice for seat, own in self.own.items() if self.workers[seat] is victim for slice in own}
        if any(self.workers[log.seat] is victim for log in self.ending):
            return found | {slice for log in self.ending for slice in log.slices}
        return found | {slice for log in self.beginning if self.workers[log.seat] is victim for slice in log.slices}


@dataclass
class Window:
    """From when to when a change was under way, the slices that a fault hit meanwhile, and how late the client was."""

    since: float
    until: float = 0.0
    hit: set[int] = field(default_factory=set)
    late: float = 0.0


Fault = Callable[["Rig", Plan], Awaitable[Worker | None]]
"""Does something to a worker in the middle of a change, and mends it; which worker it was."""


@dataclass
class Rig:
    """Two workers of orders and one of projections, and the clients."""

    system: System
    results: list[Changes]
    orders: list[Worker] = field(default_factory=list)
    projections: list[Worker] = field(default_factory=list)
    _windows: list[Window] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._broker = KafkaClient(ClientFactory(self.system.servers), PARTITIONS)

    async def start(self) -> Load:
        """Workers that serve all, and orders that are open."""
        self.orders = [self.system.start(ORDERS) for _ in range(2)]
        self.projections = [self.system.start(PROJECTIONS)]
        await self.ready()
        await self._broker.start()
        load = Load(self.system, [f"order-{number}" for number in range(KEYS)])
        await load.open_orders()
        return load

    async def stop(self) -> None:
        """Disconnect."""
        await self._broker.stop()

    async def ready(self) -> None:
        """Return when the workers serve all partitions. One may have none, if the others have them all."""

        async def served() -> bool:
            for workers in (self.orders, self.projections):
                found = await asyncio.gather(*map(self.system.partitions, workers))
                if None in found or sorted(p for ps in found for p in ps or ()) != list(range(PARTITIONS)):
                    return False
            return True

        workers = [*self.orders, *self.projections]
        await eventually(served, READY_SECONDS, lambda: "\n".join(worker.tail() for worker in workers))

    # -- under load ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def under_load(self, load: Load, fault: str, pace: float = PACE) -> AsyncIterator[Changes]:
        """Commands, a reader and followers while the body changes logs; in the end all that must hold, and a result."""
        changes = Changes(fault)
        reader, streams = Reader(load, self.projections[0]), Streams(load, self.projections[0])
        load.begin(pace)
        await load.served()
        clients = [asyncio.create_task(client.run()) for client in (reader, streams)]
        yield changes
        await load.served()
        # Few answers fit into a quick change on a slow machine; the load goes on until the reader has seen enough.
        await eventually(
            lambda: reader.answers > LEAST_ANSWERS or any(client.done() for client in clients),
            READY_SECONDS,
            lambda: f"the reader had {reader.answers} answers, and {reader.too_early} that none is there",
        )
        await load.end()
        for client in clients:
            client.cancel()
        ended = await asyncio.gather(*clients, return_exceptions=True)
        assert all(isinstance(error, asyncio.CancelledError) for error in ended), ended
        await load.answered()
        await self.ready()
        counts = await check_all(load, self.projections[0])
        await streams.check()
        changes.sent, changes.lost, changes.doubled = counts
        assert streams.reconnects
        changes.each = [await _measured(load, window) for window in self._windows]
        self._windows.clear()
        self.results.append(changes)

    async def change(self, changes: Changes, action: str, fault: Fault | None = None) -> None:
        """Split a log, or merge two, with a fault in the middle; until it is done, and a moment longer."""
        plan = await self._plan(action)
        window = Window(time.monotonic() - MARGIN_SECONDS)
        watching = asyncio.create_task(_watch_clock(window))
        try:
            await self._write(plan.layout)
            victim = await fault(self, plan) if fault is not None else None
            await self._done(plan)
            await self.ready()
            await asyncio.sleep(CALM_SECONDS)
        finally:
            watching.cancel()
        window.until = time.monotonic() - MARGIN_SECONDS
        window.hit = plan.hit(victim) if victim is not None else set()
        self._windows.append(window)
        if action == "split":
            changes.splits += 1
        else:
            changes.merges += 1

    # -- the layout ------------------------------------------------------------------------------------

    async def _layout(self) -> Layout:
        journal = open_journal(self.system.journal_url, self.system.namespace, "orders")
        await journal.open()
        try:
            layout = await journal.layout("order")
        finally:
            await journal.close()
        assert layout is not None
        return layout

    async def _plan(self, action: str) -> Plan:
        layout, seats = await self._layout(), await self._seats()
        wide = [log for log in layout.open if len(log.slices) > 1]
        some = random.sample(list(layout.open), 2) if action == "merge" else [random.choice(wide)]
        names = {seat: worker.url for seat, worker in seats.items()}
        [(_, after)] = planned(action, layout, [log.number for log in some], names)
        own = {log.seat: set(log.slices) for log in layout.open}
        return Plan(after, some, list(after.planned), seats, own)

    async def _seats(self) -> Mapping[int, Worker]:
        """Which worker has which seat, when no rebalance is under way."""
        by_port = {worker.port: worker for worker in self.orders}
        topic = self.system.topic("order-logs")

        async def placed() -> Mapping[int, Worker]:
            members = await KafkaGroup(ClientFactory(self.system.servers), self.system.namespace + "orders").members()
            found = {s: m.address.port for m in members for s in m.assigned.get(topic, ())}
            known = {seat: by_port[port] for seat, port in found.items() if port in by_port}
            return known if len(known) == PARTITIONS else {}

        found: Mapping[int, Worker] = await eventually(placed, READY_SECONDS, "the seats are not placed")
        return found

    async def _write(self, layout: Layout) -> None:
        """As `faust logs` does it, without the start of a process."""
        journal = open_journal(self.system.journal_url, self.system.namespace, "orders")
        await journal.open()
        try:
            assert await journal.change_layout("order", layout) == layout
        finally:
            await journal.close()
        await announce(self._broker, self.system.topic("order-logs"), layout)

    async def _done(self, plan: Plan) -> None:
        """Return when the planned logs have begun."""

        async def begun() -> bool:
            return not (await self._layout()).planned

        shown = msgspec.json.encode(plan.layout).decode()
        workers = self.orders
        await eventually(begun, DONE_SECONDS, lambda: "\n".join([shown, *(worker.tail() for worker in workers)]))


async def _watch_clock(window: Window) -> None:
    """Note how late the client is."""
    while True:
        due = time.monotonic() + TICK
        await asyncio.sleep(TICK)
        window.late = max(window.late, time.monotonic() - due)


async def _measured(load: Load, window: Window) -> Change:
    waits = await load.waits(window.since, window.until)
    still, hit = (
        [wait for key, wait in waits.items() if (partition_of(key) in window.hit) == wanted] for wanted in (False, True)
    )
    return Change(max(still, default=math.nan), max(hit, default=math.nan), window.late)


# -- faults --------------------------------------------------------------------------------------------


def killed(whose: str) -> Fault:
    """kill -9 of the worker of a `parent` or a `child`, and a new one in its place."""

    async def fault(rig: Rig, plan: Plan) -> Worker:
        victim: Worker = getattr(plan, whose)
        await asyncio.sleep(random.uniform(0.0, 0.3))
        victim.signal(signal.SIGKILL)
        await asyncio.to_thread(victim.end)
        rig.orders.remove(victim)
        rig.orders.append(rig.system.start(ORDERS))
        return victim

    return fault


def stopped(whose: str, seconds: float) -> Fault:
    """SIGSTOP of the worker of a `parent` or a `child`, and SIGCONT after some seconds."""

    async def fault(rig: Rig, plan: Plan) -> Worker:
        victim: Worker = getattr(plan, whose)
        await asyncio.sleep(random.uniform(0.0, 0.3))
        victim.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        victim.signal(signal.SIGCONT)
        return victim

    return fault
