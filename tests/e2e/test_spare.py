"""A worker stays a member of its group, whether it has something to read or not, and takes over when it is needed."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.e2e.client import eventually, headers
from tests.e2e.impatient import MAX_POLL_SECONDS
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

MODULE = "tests.e2e.impatient"
ORDER = {"user_id": "17850", "kind": "sale"}
LONGER = 3 * MAX_POLL_SECONDS


async def test_a_spare_worker(system: System) -> None:
    """A worker that gets no log is ready, says that it has none, and stays so for longer than a consumer may be
    idle; then the other one is killed, and it takes over."""
    first = system.start(MODULE, PARTITIONS="1")

    async def ready(worker: Worker, partitions: list[int]) -> bool:
        return await system.partitions(worker) == partitions

    await eventually(lambda: ready(first, [0]), 60, first.tail)
    assert "accepted" == (await system.ask("order", "1", "OpenOrder", ORDER))["status"]
    spare = system.start(MODULE, PARTITIONS="1")
    await eventually(lambda: ready(spare, []), 60, spare.tail)
    # What a worker says of itself in its log comes a moment after it can be asked for.
    for worker, line in ((spare, "partitions=[] logs=[]"), (first, "partitions=[0] logs=[order@0]")):
        await eventually(lambda its=worker, line=line: its.last_ready == f"ready: {ORDERS} {line}", 10, worker.tail)
    until = time.monotonic() + LONGER
    while time.monotonic() < until:
        assert [] == await system.partitions(spare), spare.tail()
        await asyncio.sleep(0.2)
    status, body, _ = await system.get(spare, "/owners")
    assert (200, []) == (status, body["owners"])
    table = await system.run("-A", ORDERS, "owners", PARTITIONS="1")
    assert 0 == table.returncode, table.stdout + table.stderr
    first.signal(signal.SIGKILL)
    assert "accepted" == (await system.ask("order", "2", "OpenOrder", ORDER, seconds=60))["status"]
    await eventually(lambda: ready(spare, [0]), 10, spare.tail)
    spare.signal(signal.SIGTERM)
    await eventually(lambda: not spare.running, 10, spare.tail)
    assert 0 == spare.process.returncode


async def test_an_owner_that_may_not_read(system: System) -> None:
    """While the journal is down for longer than a consumer may be idle, and all that may wait here does, the owner
    stays what it is: afterwards all is decided, and nothing was taken over."""
    worker = system.start(MODULE, PARTITIONS="1", GROUP_COMMANDS="5")
    await eventually(lambda: system.partitions(worker), 60, worker.tail)
    [before] = (await system.get(worker, "/owners"))[1]["owners"]
    inbox = await system.answers()
    folder = Path(system.journal_url.removeprefix("sqlite:///")).parent
    [file] = [path for path in folder.glob(f"*{system.namespace}*") if path.name.endswith("orders.db")]
    with sqlite3.connect(file, isolation_level=None) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        until, number = time.monotonic() + LONGER, 0
        while time.monotonic() < until:
            message = json.dumps(ORDER).encode()
            for _ in range(20):
                number += 1
                id = f"held-{number}"
                await system.send("order", id, message, headers(id, "OpenOrder", system.topic("answers")), 0)
            await asyncio.sleep(0.1)
        [held] = (await system.get(worker, "/owners"))[1]["owners"]
        assert 5 == held["queued"]
        lock.execute("ROLLBACK")
    for n in range(1, number + 1):
        assert "accepted" == (await inbox.answer(f"held-{n}", 1, 60))["status"]
    [after] = (await system.get(worker, "/owners"))[1]["owners"]
    assert (before["owner"], before["epoch"]) == (after["owner"], after["epoch"])
