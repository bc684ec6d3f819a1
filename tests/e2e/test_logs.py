"""Logs are split and merged under load: nothing is lost or doubled, and nobody waits for long."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

import pytest
import pytest_asyncio

from tests.e2e.client import eventually
from tests.e2e.invariants import check_all
from tests.e2e.load import Load
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDERS_OPEN = 60
PACE = 100
"""Commands a second."""
SECONDS = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def load(system: System) -> Load:
    """Orders that are open, with two workers that own their logs, and one that shows them."""
    workers = [system.start(ORDERS), system.start(ORDERS)]
    await system.all_served(*workers)
    load = Load(system, [f"logs-{number}" for number in range(ORDERS_OPEN)])
    await load.open_orders()
    return load


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def projections(system: System) -> Worker:
    worker = system.start(PROJECTIONS)
    await system.all_served(worker)
    return worker


async def logs(system: System, *arguments: str) -> Sequence[str]:
    """What the command prints."""
    shown = await system.run("-A", ORDERS, "logs", *arguments)
    assert 0 == shown.returncode, shown.stderr + shown.stdout
    return list(shown.stdout.splitlines())


async def test_spread_and_back(system: System, load: Load, projections: Worker) -> None:
    """From two logs to four, and to one, while commands come and tables are kept. Without --yes nothing happens."""
    shown = await logs(system, "spread", "order", "4")
    assert "nothing is changed: add --yes to do it" == shown[-1]
    load.begin(PACE)
    for number in (4, 1, 3):
        shown = await logs(system, "spread", "order", str(number), "--yes")
        assert shown
        assert number == len([line for line in await logs(system, "list", "order") if " open " in line])
    await load.end()
    await load.answered()
    await check_all(load, projections)


async def test_killed_in_the_middle(system: System, load: Load, projections: Worker) -> None:
    """Workers are killed while their logs are split: it goes on where they are taken over, and ends."""
    load.begin(PACE)
    victims = [worker for worker in system.workers if worker.running and worker.module == ORDERS]
    for victim in victims:
        changing = asyncio.create_task(logs(system, "spread", "order", "4" if victim is victims[0] else "2", "--yes"))
        await asyncio.sleep(1.0)
        victim.signal(signal.SIGKILL)
        system.start(ORDERS)
        await changing
    await load.end()
    await load.answered()
    await eventually(lambda: all(w.running for w in system.workers if w not in victims), SECONDS, "a worker has ended")
    await check_all(load, projections)


async def test_the_read_side_begins_again(system: System, load: Load, projections: Worker) -> None:
    """A worker that comes after the changes finds the logs that have ended published, and goes on with the others."""
    projections.signal(signal.SIGTERM)
    await eventually(lambda: not projections.running, SECONDS, projections.tail)
    again = system.start(PROJECTIONS)
    await system.all_served(again)
    await load.answered(await load.lines(PACE, PACE))
    await check_all(load, again)
    status, ready, _ = await system.get(again, "/health/ready")
    assert 200 == status, ready


async def test_taken_back(system: System, load: Load, projections: Worker) -> None:
    """What nobody is up to do is taken back, and the workers that come then go on with the logs that there were."""
    before = await logs(system, "list", "order")
    for worker in [worker for worker in system.workers if worker.running and worker.module == ORDERS]:
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.end)
    shown = await system.run("-A", ORDERS, "logs", "cancel", "order", "--yes")
    assert (2, "Error: nothing is planned\n") == (shown.returncode, shown.stderr)
    shown = await system.run("-A", ORDERS, "logs", "spread", "order", "1", "--yes", "--wait", "1")
    assert (1, True) == (shown.returncode, "`logs cancel` takes it back" in shown.stderr), shown.stderr
    assert "take back log" in (await logs(system, "cancel", "order"))[0]
    await logs(system, "cancel", "order", "--yes")
    assert len(before) == len(await logs(system, "list", "order"))
    await system.all_served(system.start(ORDERS))
    await load.answered(await load.lines(PACE, PACE))
    await check_all(load, next(w for w in system.workers if w.running and w.module == PROJECTIONS))
