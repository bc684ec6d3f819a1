"""One broker of three is killed or hangs, all are restarted, two are gone: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.brokers.cluster import Broker
from tests.brokers.conftest import Rig

pytestmark = pytest.mark.full

PACE = 100
"""Commands a second: three brokers share this machine."""
TIMES = 2
HANGS_SECONDS = 25.0
"""More than the 9 s after which the others take a broker for dead."""
SILENT_SECONDS = 5.0

LEADER, COORDINATOR, CONTROLLER = "the leader of a command partition", "the group's coordinator", "the controller"


async def victim(rig: Rig, part: str) -> Broker:
    """The broker that has this part now."""
    if part == LEADER:
        return await rig.cluster.leader("order-commands", 0)
    return await rig.cluster.coordinator("orders") if part == COORDINATOR else rig.cluster.controller()


@pytest.mark.parametrize("part", [LEADER, COORDINATOR, CONTROLLER])
async def test_a_broker_killed(rig: Rig, part: str) -> None:
    """kill -9: the other two have all that was acknowledged, and go on within the time that Kafka takes to miss it."""
    await rig.start()
    async with rig.under_load(f"kill -9 of {part}", TIMES, PACE) as load:
        for _ in range(TIMES):
            broker = await victim(rig, part)
            await broker.kill()
            await load.served()
            await broker.start()
            await rig.cluster.whole()
    assert all(worker.running for worker in (*rig.orders, *rig.projections))


@pytest.mark.parametrize("part", [LEADER, COORDINATOR, CONTROLLER])
async def test_a_broker_that_hangs(rig: Rig, part: str) -> None:
    """SIGSTOP: it holds its connections, and answers nothing. Workers turn to the others before it comes back."""
    await rig.start()
    async with rig.under_load(f"SIGSTOP of {part} for {HANGS_SECONDS:.0f} s", 1, PACE) as load:
        broker = await victim(rig, part)
        broker.signal(signal.SIGSTOP)
        back = asyncio.get_running_loop().time() + HANGS_SECONDS
        await load.served()
        await asyncio.sleep(back - asyncio.get_running_loop().time())
        broker.signal(signal.SIGCONT)
        await rig.cluster.whole()
    assert all(worker.running for worker in (*rig.orders, *rig.projections))


async def test_all_brokers_restarted_one_by_one(rig: Rig) -> None:
    """SIGTERM, as for an update: each hands over what it leads first."""
    await rig.start()
    async with rig.under_load("brokers restarted one by one", len(rig.cluster.brokers), PACE) as load:
        for broker in rig.cluster.brokers:
            await broker.stop()
            await load.served()
            await broker.start()
            await rig.cluster.whole()
    assert all(worker.running for worker in (*rig.orders, *rig.projections))


async def test_two_brokers_gone(rig: Rig) -> None:
    """kill -9 of two at once: what is not on two brokers is not acknowledged, so nothing is answered. When they are
    back all go on."""
    await rig.start()
    async with rig.under_load(f"two of three brokers gone for {rig.outage:.0f} s", 1, PACE) as load:
        gone = rig.cluster.others(await victim(rig, LEADER))
        await asyncio.gather(*(broker.kill() for broker in gone))
        back = asyncio.get_running_loop().time() + rig.outage
        await load.silent(SILENT_SECONDS)
        await asyncio.sleep(back - asyncio.get_running_loop().time())
        await asyncio.gather(*(broker.start() for broker in gone))
        await rig.cluster.whole()
    assert all(worker.running for worker in (*rig.orders, *rig.projections))
