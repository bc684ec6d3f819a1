"""Projections workers are killed, paused and stopped while sales come in: afterwards every row of every table, in every
store, is the fold of the log."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.client import PARTITIONS, eventually
from tests.e2e.invariants import check_nothing_behind
from tests.e2e.system import System
from tests.e2e.tables import check_disk, check_tables
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, USERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAYS = [("2010-12-01", "2010-12-01"), ("2010-12-05", "2010-12-05"), ("2010-12-07", "2010-12-07")]
IN_FULL = [("2010-12-01", "2010-12-03"), ("2010-12-04", "2010-12-06"), ("2010-12-07", "2010-12-09")]
CONTEXTS = {"order": "orders", "product": "products", "user": "users", "checkout": "checkout", "timer": "timers"}
PAUSE_SECONDS = 9.0
"""Longer than a session: the others have its partitions when it wakes."""


async def sold(system: System, worker: Worker) -> bool:
    """Whether all orders are at their ends, as far as the tables know: the last thing that one causes is the end of its
    checkout's timer.

    Each answer is of a moment of its own, and a command may still be on its way: nothing can be held against the log by
    that.
    """
    lag = await system.lag(worker)
    if lag is None or lag["total"] or not all(it["head"] for it in lag["streams"]):
        return False
    _, orders, _ = await system.get(worker, "/analytics/orders-by-status")
    _, timers, _ = await system.get(worker, "/timers")
    return orders.get("statuses", {}).get("placed") == 0 and timers.get("timers") == []


async def test_rows_after_faults(system: System, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """kill -9 twice, a pause behind which the partitions have moved, and a stop, while sales are replayed: of a day
    each, with `--full` of three."""
    file = tmp_path / "sales.csv"
    made = await system.run("-A", PROJECTIONS, "generate-sales", str(file))
    assert 0 == made.returncode, made.stderr
    writers = [system.start(module) for module in (ORDERS, PRODUCTS, USERS, CHECKOUT, TIMERS)]
    for writer in writers:
        await system.all_served(writer)
    stays, victim = system.start(PROJECTIONS), system.start(PROJECTIONS)
    await system.all_served(stays, victim)

    is_full = pytestconfig.getoption("full")
    days = iter(IN_FULL if is_full else DAYS)
    for _ in range(2):
        async with replaying(system, file, *next(days)):
            victim.signal(signal.SIGKILL)
            await asyncio.to_thread(victim.end)
            victim = system.start(PROJECTIONS, folder=victim.folder)
            await system.all_served(stays, victim)
    async with replaying(system, file, *next(days)):
        stays.signal(signal.SIGSTOP)
        await asyncio.sleep(PAUSE_SECONDS)
        stays.signal(signal.SIGCONT)
    await system.all_served(stays, victim, seconds=120)
    await eventually(lambda: sold(system, victim), 120, lambda: f"{stays.tail()}\n{victim.tail()}")

    # Nobody writes any more, so what is applied now is all there will ever be. Else the one that ends last would apply
    # what comes meanwhile, and the disk of the other would rightly lack it.
    for writer in writers:
        await stop(writer)
    await check_nothing_behind(system, victim)
    folders = {partition: it.folder for it in (stays, victim) for partition in await system.partitions(it) or ()}
    assert set(range(PARTITIONS)) == folders.keys()
    for worker in (stays, victim):
        await stop(worker)
    rows = 0
    for type, context in CONTEXTS.items():
        commits = await system.commits(context, type)
        kept = await check_tables(system, type, commits)
        copies = await check_disk(system, folders, type, commits)
        rows += kept.rows + copies.rows
        print(f"{type}: {kept.rows} rows of {kept.tables} tables, {copies.rows} on disk: differences 0")
    assert rows > 3_000


async def stop(worker: Worker) -> None:
    worker.signal(signal.SIGTERM)
    await asyncio.to_thread(worker.end)


@asynccontextmanager
async def replaying(system: System, file: Path, since: str, until: str) -> AsyncIterator[None]:
    """Some days of sales come in, and the first of their events are there."""
    before = sum((await system.ends("order-events")).values())
    replay = asyncio.create_task(
        system.run("-A", PROJECTIONS, "replay", str(file), "--since", since, "--until", until, timeout=300)
    )

    async def begun() -> bool:
        return sum((await system.ends("order-events")).values()) > before

    await eventually(begun, 60, "no events")
    yield
    replayed = await replay
    assert 0 == replayed.returncode, replayed.stderr
