"""Workers with a journal that is not that of their topics, or in a folder that is another's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOURNAL = "sqlite"
OPEN = {"user_id": "17850", "kind": "sale"}


async def stop(*workers: Worker) -> None:
    for worker in workers:
        worker.signal(signal.SIGTERM)
    await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in workers))


async def ended(system: System, module: str, **settings: str) -> str:
    """The one line with which a worker ends that is refused."""
    run = await system.run("-A", module, "worker", "--web-port", str(free_port()), "-l", "warn", **settings)
    assert 2 == run.returncode, run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    [line] = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    return line


async def test_an_empty_journal_beside_full_topics(system: System, tmp_path: Path) -> None:
    """A mistyped JOURNAL_URL: the command worker is refused, the projections worker is not ready, says so in `/lag`,
    fulfils no `At-Least`, and applies nothing; with the right URL all goes on."""
    orders, door = system.start(ORDERS), system.start(PROJECTIONS)
    await system.all_served(orders)
    await system.all_served(door)
    reply = await system.ask("order", "A-1", "OpenOrder", OPEN)
    position = reply["position"]
    assert 200 == (await system.get(door, "/orders/A-1", At_Least=position))[0]
    await stop(orders, door)

    empty = f"sqlite:///{tmp_path}/typo.db"
    line = await ended(system, ORDERS, JOURNAL_URL=empty)
    assert "its events are published up to" in line
    assert "has nothing of it: is JOURNAL_URL right" in line
    assert [] == os.listdir(tmp_path)

    lost = system.start(PROJECTIONS, folder=door.folder, JOURNAL_URL=empty)

    async def said() -> bool:
        status, body, _ = await system.get(lost, "/health/ready")
        return status == 503 and "is JOURNAL_URL right" in body["detail"]

    await eventually(lambda: _quietly(said), 60, lost.tail)

    async def ahead() -> bool:
        lag = await system.lag(lost)
        return lag is not None and any(stream["ahead"] for stream in lag["streams"])

    await eventually(lambda: _quietly(ahead), 60, lost.tail)
    shown = await system.run("-A", PROJECTIONS, "lag", "--url", lost.url)
    assert 2 == shown.returncode
    assert "does not have what was published of it" in shown.stderr
    status, _, _ = await system.get(lost, "/orders/A-1", At_Least=position, Prefer="wait=1")
    assert 503 == status
    await stop(lost)

    orders, door = system.start(ORDERS), system.start(PROJECTIONS, folder=door.folder)
    await system.all_served(orders)
    await system.all_served(door)
    added = await system.ask("order", "A-1", "CancelOrder", {"reason": "x"})
    assert 200 == (await system.get(door, "/orders/A-1", At_Least=added["position"]))[0]
    verified = await system.run("-A", ORDERS, "journal", "verify", "order")
    assert 0 == verified.returncode, verified.stdout + verified.stderr


async def test_a_second_worker_in_the_same_folder(system: System) -> None:
    """It is refused before it joins the group: the first keeps all of its partitions."""
    running = (worker for worker in system.workers if worker.running and worker.module == PROJECTIONS)
    door = next(running, None) or system.start(PROJECTIONS)
    await system.all_served(door)
    second = system.start(PROJECTIONS, folder=door.folder)
    await asyncio.to_thread(second.end)
    assert 2 == second.process.returncode
    [line] = [line for line in second.lines if line.startswith("error: ")]
    assert f"{door.folder} is in use by another worker" in line
    await system.all_served(door)


async def test_namespaces_that_share_a_journal(system: System) -> None:
    """The second is refused by the journal, whose name does not tell the two apart in every store."""
    folder, _, file = system.journal_url.rpartition("/")
    other = system.namespace + file[0]  # with the rest of the file's name this makes the very name of the first one
    line = await ended(system, ORDERS, NAMESPACE=other, JOURNAL_URL=f"{folder}/{file[1:]}")
    assert f"belongs to NAMESPACE='{system.namespace}', and here is NAMESPACE='{other}'" in line
    assert f"{other}order-commands" not in await system.topics()


async def _quietly(done: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it is so; not while the worker does not answer."""
    try:
        return await done()
    except aiohttp.ClientError:
        return False
