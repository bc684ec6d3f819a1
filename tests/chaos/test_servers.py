"""Kafka and Cassandra go away and come back under load."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.rig import Rig


async def test_kafka_stopped(rig: Rig) -> None:
    """Kafka is stopped and started again: all workers live on, every partition is served again, nothing is lost. A
    command over HTTP is answered 503 meanwhile, and taken when it is sent again."""
    await rig.start()
    async with rig.under_load(f"Kafka stopped for {rig.outage:.0f} s"):
        await rig.kafka.stop()
        refused, _ = await asyncio.gather(post(rig, 0), asyncio.sleep(rig.outage))
        await rig.kafka.start()
        assert (503, "1", "in-between") == refused
        assert (409, None, "in-between") == await post(rig, 30)


async def post(rig: Rig, seconds: int) -> tuple[int, str | None, str]:
    """Place over HTTP an order that there is not, to no effect: status, Retry-After and command id of the answer."""
    url = rig.projections[0].url + "/orders/in-between/commands"
    named = {"Idempotency-Key": "in-between", "Prefer": f"wait={seconds}"}
    async with rig.system.http.post(url, json={"type": "PlaceOrder"}, headers=named) as response:
        return response.status, response.headers.get("Retry-After"), (await response.json())["command_id"]


@pytest.mark.full
async def test_cassandra_stopped(rig: Rig) -> None:
    """Cassandra is stopped and started again: owners hold what they have and go on, nothing is lost."""
    await rig.start()
    async with rig.under_load(f"Cassandra stopped for {rig.outage:.0f} s"):
        await rig.cassandra.stop()
        await asyncio.sleep(rig.outage)
        await rig.cassandra.start()


async def test_cassandra_killed_in_the_middle_of_writes(rig: Rig) -> None:
    """kill -9 of a single Cassandra with `commitlog_sync: batch`, amid conditional writes, whose outcome is found out
    afterwards: no commit that was acknowledged is gone, none stands there twice."""
    await rig.start()
    times = 3 if rig.full else 1
    async with rig.under_load("Cassandra kill -9 in the middle of writes", times):
        for _ in range(times):
            await rig.cassandra.kill()
            await rig.cassandra.start()
            await asyncio.sleep(3)
