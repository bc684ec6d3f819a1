"""Three Cassandra nodes with replication 3: one may be gone; with two gone writes wait, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.results import Result
from tests.chaos.rig import Rig
from tests.chaos.servers import Server
from tests.e2e.system import System

pytestmark = pytest.mark.full

PACE = 100
"""Commands a second: three nodes share this machine."""
PAUSE = 10.0


@pytest_asyncio.fixture
async def cluster(
    tmp_path: Path, servers: tuple[Server, Server, list[Server]], results: list[Result]
) -> AsyncIterator[tuple[Rig, list[Server]]]:
    """Kafka, and three nodes in place of the one."""
    kafka, one, nodes = servers
    await one.stop()
    await kafka.start()
    for node in nodes:
        await node.start()
    hosts = ",".join(node.where.host for node in nodes)
    url = f"cassandra://{hosts}:{nodes[0].where.cassandra_port}/chaos?replication=3"
    system = System(tmp_path, url, f"kafka://{kafka.address}")
    await system.open()
    yield Rig(system, True, results, kafka=kafka, cassandra=nodes[0]), nodes
    for node in nodes:
        node.signal(signal.SIGCONT)
    await system.close(keep_journal=True)
    await asyncio.gather(*(node.stop() for node in nodes))


async def test_one_node_killed_and_one_paused(cluster: tuple[Rig, list[Server]]) -> None:
    """With one node killed every partition is served. With another one paused no command is answered, for none can be
    durable; when that one wakes up all go on, and the killed one comes back."""
    rig, nodes = cluster
    await rig.start(orders=1)
    async with rig.under_load(
        f"of three Cassandra nodes one killed, then one paused for {PAUSE:.0f} s", 2, PACE
    ) as load:
        await nodes[0].kill()
        await load.served()
        await asyncio.sleep(rig.outage)
        await load.served()
        nodes[2].signal(signal.SIGSTOP)
        await load.silent(PAUSE)
        nodes[2].signal(signal.SIGCONT)
        await load.served()
        await nodes[0].start()
