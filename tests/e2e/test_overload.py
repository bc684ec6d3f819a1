"""A journal that stops answering while commands pile up: the worker holds, within its memory, and loses nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from streams.journal.cassandra.address import CassandraAddress
from tests.e2e.client import PARTITIONS, eventually, headers
from tests.e2e.invariants import check_log
from tests.e2e.stalling_proxy import StallingProxy
from tests.e2e.system import System
from tests.e2e.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMMANDS, COMMAND_BYTES = 12_000, 8_000
"""96 MB of commands: what a worker took in beside its bounds would be seen."""
QUEUE_BYTES = 1 << 20
GROWTH_MB = 50
"""Per partition 1 MB waits and 1 MB is in the group, with as many objects around them; Faust and the client add their
own bounded buffers."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(cassandra_url: str) -> AsyncIterator[StallingProxy]:
    """Before the journal."""
    address = CassandraAddress.parse(cassandra_url)
    proxy = StallingProxy(address.hosts[0], address.port)
    await proxy.start()
    yield proxy
    await proxy.close()


async def test_journal_that_stops_answering(system: System, proxy: StallingProxy) -> None:
    """While the journal does not answer, 96 MB of commands make the worker grow by its bounds only; when it answers
    again, each command has one effect."""
    server = CassandraAddress.parse(system.journal_url)
    url = system.journal_url.replace(f":{server.port}/", f":{proxy.port}/")
    worker = system.start("tests.fragile.app", JOURNAL_URL=url, QUEUE_BYTES=str(QUEUE_BYTES), CACHE_BYTES="1000000")
    await system.all_served(worker)
    for ledger in range(20):
        await system.ask("ledger", f"warm-{ledger}", "Post", {"amount": 1})
    before = memory_mb(worker)

    proxy.stall()
    ids = await pile_up(system)
    grown = await settled_memory(worker) - before
    assert worker.running
    assert grown < GROWTH_MB, f"{grown:.0f} MB"

    proxy.flow()
    await system.covered("ledgers", "ledger", 120)
    effects = await check_log(system, "ledger", await system.commits("ledgers", "ledger"))
    assert dict.fromkeys(ids, 1) == {id: len(events) for id, events in effects.items() if id.startswith("pile-")}
    assert memory_mb(worker) - before < GROWTH_MB
    print(f"{COMMANDS} commands, {COMMANDS * COMMAND_BYTES / 1e6:.0f} MB: {grown:.0f} MB more while the journal stood")


async def pile_up(system: System) -> list[str]:
    """Send the commands, over many ledgers; their ids."""
    value = json.dumps({"amount": 1, "pad": "x" * COMMAND_BYTES}).encode()
    ids = [f"pile-{number}" for number in range(COMMANDS)]
    topic = system.topic("ledger-commands")
    for number, id in enumerate(ids):
        key = f"pile-{number % 200}".encode()
        await system.producer.send(topic, value, key=key, headers=headers(id, "Post"))
    await system.producer.flush()
    ends = await system.ends("ledger-commands")
    assert COMMANDS <= sum(ends.values())
    assert PARTITIONS == sum(end > 1_000 for end in ends.values())
    return ids


def memory_mb(worker: Worker) -> float:
    """The worker's resident memory."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


async def settled_memory(worker: Worker) -> float:
    """The most that the worker has when it has been growing no more for some seconds."""
    highest, since = 0.0, 0

    async def still() -> bool:
        nonlocal highest, since
        now = memory_mb(worker)
        highest, since = (now, 0) if now > highest + 1 else (highest, since + 1)
        await asyncio.sleep(0.1)
        return since >= 50

    await eventually(still, 60, "its memory grows and grows")
    return highest
