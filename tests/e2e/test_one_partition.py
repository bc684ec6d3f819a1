"""The trouble of one log is its own: the others are served, it waits and says for what, and is served afterwards
without anybody's doing. Partitions that are added by hand are nobody's."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import NewPartitions

from tests.e2e.client import PARTITIONS, eventually, keys_of
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

ORDER = {"user_id": "17850", "kind": "sale"}
DAMAGED = b"\x00" * 20


async def open_order(system: System, partition: int, name: str, seconds: float = 15) -> None:
    reply = await system.ask("order", next(iter(keys_of(partition, name))), "OpenOrder", ORDER, seconds=seconds)
    assert "accepted" == reply["status"]


async def owned(system: System, worker: Worker) -> dict[int, dict[str, Any]]:
    body = (await system.get(worker, "/owners"))[1]
    return {row["seat"]: row for row in body["owners"]}


async def not_ready(system: System, worker: Worker) -> str:
    """Why a worker is not ready."""
    status, body, _ = await system.get(worker, "/health/ready")
    return str(body["detail"]) if status == 503 else ""


def said(worker: Worker, words: str) -> list[str]:
    """The lines of its log with these words."""
    return [line for line in worker.lines if words in line]


async def test_an_unreadable_commit(system: System) -> None:
    """A worker whose journal has, at the end of one log, what nobody can read serves the other one at once. That one
    it holds, says so once, and serves it when the commit can be read; commands that came meanwhile are decided."""
    worker = system.start(ORDERS)
    await system.all_served(worker)
    for partition in range(PARTITIONS):
        await open_order(system, partition, "first")
    worker.signal(signal.SIGTERM)
    await eventually(lambda: not worker.running, 20, worker.tail)

    folder = Path(system.journal_url.removeprefix("sqlite:///")).parent
    [file] = [path for path in folder.glob(f"*{system.namespace}*") if path.name.endswith("orders.db")]
    last = "log = 'order@1' AND nr = (SELECT max(nr) FROM commits WHERE log = 'order@1')"
    with sqlite3.connect(file) as journal:
        [(payload,)] = journal.execute(f"SELECT payload FROM commits WHERE {last}").fetchall()
        journal.execute(f"UPDATE commits SET payload = ? WHERE {last}", (DAMAGED,))

    worker = system.start(ORDERS)
    others = [partition for partition in range(PARTITIONS) if partition not in (1, 3)]
    await asyncio.gather(*(open_order(system, partition, "second", 60) for partition in others))
    waiting = asyncio.create_task(open_order(system, 1, "second", 60))

    async def held() -> bool:
        return "order@1: a commit starts with 0000" in await not_ready(system, worker)

    await eventually(held, 30, worker.tail)  # the others are served whether it has been looked at or not
    found = await owned(system, worker)
    assert others == [partition for row in found.values() if row["serving"] for partition in row["slices"]]
    assert "a commit starts with" in found[1]["waits"]
    await eventually(lambda: said(worker, "order@1 waits"), 10, worker.tail)
    assert 1 == len(said(worker, "order@1 waits"))
    assert "" == worker.last_ready
    before = found[0]["epoch"]

    with sqlite3.connect(file) as journal:
        journal.execute(f"UPDATE commits SET payload = ? WHERE {last}", (payload,))
    await waiting
    await system.all_served(worker)
    found = await owned(system, worker)
    assert before == found[0]["epoch"], "nobody else has noticed"
    assert "" == found[1]["waits"]


async def test_the_topic_is_made_again(system: System) -> None:
    """Each owner begins anew, at the beginning of the new topic, and what is sent is decided."""
    [worker] = [worker for worker in system.workers if worker.running]
    before = await owned(system, worker)
    topic = system.topic("order-commands")

    async def gone() -> bool:
        return topic not in await system.topics()

    await system.admin.delete_topics([topic])
    await eventually(gone, 30, "the topic is still there")
    await system.make_topic("order-commands")
    for partition in range(PARTITIONS):
        key, name = next(iter(keys_of(partition, "again"))), "OpenOrder"
        async with asyncio.timeout(60):  # what is sent too early may be lost with the topic, or was never read
            while True:
                try:
                    reply = await system.ask("order", key, name, ORDER, id=f"again-{partition}", seconds=5)
                except pytest.fail.Exception:
                    continue
                break
        assert "accepted" == reply["status"]
    after = await owned(system, worker)
    assert all(after[number]["epoch"] > before[number]["epoch"] for number in after)
    assert all(offset <= 20 for row in after.values() for offset in row["next_offsets"].values())
    await system.all_served(worker)


async def test_partitions_added_by_hand(system: System) -> None:
    """Within a minute it is said, with both numbers, and the worker is not ready; what it has it serves."""
    [worker] = [worker for worker in system.workers if worker.running]
    topic = system.topic("order-commands")
    await system.admin.create_partitions({topic: NewPartitions(total_count=2 * PARTITIONS)})
    words = f"{topic} has {2 * PARTITIONS} partitions, PARTITIONS says {PARTITIONS}"

    async def noticed() -> bool:
        return words in await not_ready(system, worker)

    await eventually(noticed, 60, worker.tail)
    await eventually(lambda: said(worker, words), 10, worker.tail)
    assert 1 == len(said(worker, words))
    await open_order(system, 0, "third")
    # One that is started now says the same, and ends.
    second = system.start(ORDERS)
    await eventually(lambda: not second.running, 60, second.tail)
    assert any(words in line for line in second.lines)
    worker.signal(signal.SIGTERM)
    await eventually(lambda: not worker.running, 10, worker.tail)
    assert 0 == worker.process.returncode


async def test_a_folder_that_is_in_use(system: System) -> None:
    """A worker with tables that is started in the folder of another ends with status 2 and one line, before it joins
    the group: the first one never stops to serve."""
    first = system.start(PROJECTIONS, PARTITIONS=str(2 * PARTITIONS), NAMESPACE=f"{system.namespace}x_")
    await eventually(lambda: system.partitions(first), 60, first.tail)
    ready = [line for line in first.lines if line.startswith("ready:")]
    options = "worker", "--web-port", str(free_port()), "--datadir", str(first.folder), "-l", "warn"
    settings = {"PARTITIONS": str(2 * PARTITIONS), "NAMESPACE": f"{system.namespace}x_"}
    second = await system.run("-A", PROJECTIONS, *options, **settings)
    assert 2 == second.returncode, second.stdout + second.stderr
    [line] = [line for line in (second.stdout + second.stderr).splitlines() if line.startswith("error: ")]
    assert f"datadir {first.folder}" in line
    assert "in use by another worker" in line
    assert ready == [line for line in first.lines if line.startswith("ready:")]
    assert await system.partitions(first) is not None
