"""Workers come and go under load: every command has one effect and one meaning of its reply."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.client import eventually
from tests.e2e.invariants import check_all
from tests.e2e.load import Load
from tests.e2e.system import READY_SECONDS, System
from tests.e2e.worker import ORDERS, STOP_SECONDS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDERS_OPEN = 200
COMMANDS = 3_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def load(system: System) -> Load:
    """Orders that are open, with two workers that serve them."""
    await system.all_served(system.start(ORDERS), system.start(ORDERS))
    load = Load(system, [f"load-{number}" for number in range(ORDERS_OPEN)])
    await load.open_orders()
    return load


@pytest_asyncio.fixture(loop_scope="module")
async def two(system: System, load: Load) -> AsyncIterator[tuple[Worker, Worker]]:
    """Two workers that have all partitions between them."""
    running = [worker for worker in system.workers if worker.running]
    while len(running) < 2:
        running.append(system.start(ORDERS))
    await system.all_served(*running)
    one, other = running
    yield one, other


async def test_killed_worker_loses_nothing(system: System, load: Load, two: tuple[Worker, Worker]) -> None:
    """kill -9 under load: the other worker takes over, and every command ends with one effect and one reply."""
    survivor, victim = two
    first = await load.lines(COMMANDS // 2)
    rest = asyncio.create_task(load.lines(COMMANDS // 2))
    inbox = await system.answers()
    before = len(inbox.records)
    await eventually(lambda: len(inbox.records) > before + 100, 20, "the load is not served")
    victim.signal(signal.SIGKILL)
    ids = first + await rest
    await system.all_served(survivor)
    await load.answered(ids)
    await check_all(load)


async def test_stopped_worker_hands_over(system: System, load: Load, two: tuple[Worker, Worker]) -> None:
    """SIGTERM under load: the worker ends by itself with status 0, the other takes over, and no reply is missing.
    In the end the consumer group has no lag, as Kafka's own tools see it."""
    survivor, leaver = two
    inbox = await system.answers()
    loading = asyncio.create_task(load.lines(COMMANDS // 2))
    before = len(inbox.records)
    await eventually(lambda: len(inbox.records) > before + 100, 20, "the load is not served")
    leaver.signal(signal.SIGTERM)
    await eventually(lambda: not leaver.running, STOP_SECONDS, leaver.tail)
    assert 0 == leaver.process.returncode
    ids = await loading
    await system.all_served(survivor)
    await eventually(lambda: all(inbox.by_key[id] for id in ids), 60, "a reply is missing, though nobody was killed")
    await check_all(load)
    ends = await system.ends("order-commands")

    async def no_lag() -> bool:
        return await system.group_offsets("orders-commands", "order-commands") == ends

    await eventually(no_lag, 20, "the consumer group has a lag")


async def test_joining_worker_takes_its_share(system: System, load: Load, two: tuple[Worker, Worker]) -> None:
    """A worker that joins under load gets half of the partitions; every command ends with one effect and one reply."""
    stays, leaver = two
    leaver.signal(signal.SIGTERM)
    await system.all_served(stays)
    inbox = await system.answers()
    joiner = system.start(ORDERS)
    ids: list[str] = []
    deadline = time.monotonic() + READY_SECONDS
    while not await system.partitions(joiner):
        assert time.monotonic() < deadline, joiner.tail()
        ids += await load.lines(100)
    ids += await load.lines(COMMANDS // 2)
    await system.all_served(stays, joiner)
    assert [2, 2] == [len(await system.partitions(worker) or ()) for worker in (stays, joiner)]
    await eventually(lambda: all(inbox.by_key[id] for id in ids), 60, "a reply is missing, though nobody was killed")
    await check_all(load)
