"""Commands over HTTP at several workers: whichever is asked, one has the command, and another when that is gone."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.e2e.client import eventually, partition_of
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
COUNT = 12
Answer = tuple[int, Any, Mapping[str, str]]


class Shop:
    """An order worker, and two gateways."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.orders = system.start(ORDERS)
        self.gateways = [system.start(PROJECTIONS) for _ in range(2)]

    async def post(self, worker: Worker, id: str, type: str = "OpenOrder", data: Any = OPEN, **headers: str) -> Answer:
        """Send a command to the order of an id; its own id is the same unless the headers say another."""
        named = {"Content-Type": "application/json", "Idempotency-Key": id}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        url, body = f"{worker.url}/orders/{id}/commands", json.dumps({"type": type, "data": data})
        async with self.system.http.post(url, data=body, headers=named) as response:
            return response.status, json.loads(await response.read()), response.headers

    async def get(self, worker: Worker, id: str, **headers: str) -> Answer:
        """What became of a command."""
        return await self.system.get(worker, f"/commands/{id}", **headers)

    async def served(self, *workers: Worker) -> None:
        """Wait until these have all partitions between them."""
        await self.system.all_served(*workers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """All workers, ready."""
    shop = Shop(system)
    await asyncio.gather(system.all_served(shop.orders), shop.served(*shop.gateways))
    return shop


def ids() -> list[str]:
    """New ids."""
    return [uuid.uuid4().hex for _ in range(COUNT)]


async def test_sent_to_one_and_asked_of_the_other(shop: Shop) -> None:
    """Any worker takes a command, any other says what became of it, and the same again is the same at each."""
    one, other = shop.gateways
    for id in ids():
        status, reply, _ = await shop.post(one, id, X_Correlation_ID=f"journey of {id}")
        assert (200, "accepted", id) == (status, reply["status"], reply["command_id"])
        assert (200, "accepted") == ((got := await shop.get(other, id))[0], got[1]["status"])
        assert (200, reply) == (await shop.post(other, id))[:2]
        status, problem, _ = await shop.post(other, id, "AddLine", LINE)
        assert (422, "IdUsedBefore") == (status, problem["title"])
        assert 409 == (await shop.post(one, id, "PlaceOrder", {}, Idempotency_Key=f"{id}-place"))[0]
        assert 404 == (await shop.get(other, f"{id}-no"))[0]


async def test_replies_are_where_their_commands_are(shop: Shop) -> None:
    """All records of a command stand in the partition of its id, whatever its correlation id."""
    for id in ids()[:4]:
        await shop.post(shop.gateways[0], id, X_Correlation_ID="the same journey")
        await eventually(lambda id=id: at(shop, id), 5, "the note and the reply are not there")


async def at(shop: Shop, id: str) -> bool:
    """Whether the note and the reply are where they belong."""
    found = [
        record.partition
        for record in await shop.system.read("gateway-replies")
        if json.loads(record.value)["command_id"] == id
    ]
    return found == [partition_of(id)] * 2


async def test_a_worker_is_killed_while_it_waits(shop: Shop) -> None:
    """Commands that a worker has when it is killed are known to the other, which also answers those who wait; each has
    one effect."""
    one, other = shop.gateways
    shop.orders.signal(signal.SIGTERM)
    shop.orders.end()
    waiting, noted = ids(), ids()
    for id in noted:
        assert 202 == (await shop.post(one, id, Prefer="wait=0"))[0]
    posts = [asyncio.create_task(shop.post(one, id, Prefer="wait=50")) for id in waiting]
    for id in waiting:
        await eventually(lambda id=id: known(shop, one, id), 10, "the command is not on its way")
    other.signal(signal.SIGKILL)
    other.end()
    gets = [asyncio.create_task(shop.get(one, id, Prefer="wait=50")) for id in noted]
    await shop.served(one)
    shop.orders = shop.system.start(ORDERS)
    for status, reply, _ in await asyncio.gather(*posts):
        assert (200, "accepted", 1) == (status, reply["status"], reply["aggregate"]["sequence"])
    assert [(200, "accepted")] * COUNT == [(code, body["status"]) for code, body, _ in await asyncio.gather(*gets)]


async def known(shop: Shop, worker: Worker, id: str) -> bool:
    """Whether a command is on its way."""
    return (await shop.get(worker, id))[0] == 200


async def test_a_worker_joins_and_leaves_under_load(shop: Shop) -> None:
    """While partitions move and move back, whatever is sent is taken, and each command has one effect."""
    one, taken, stop = shop.gateways[0], [], asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            id = uuid.uuid4().hex
            try:
                status, body, _ = await shop.post(one, id, Prefer="wait=10")
            except aiohttp.ClientError as error:  # the worker that is asked stays
                pytest.fail(repr(error))
            assert status in (200, 202), body
            taken.append(id)

    loads = [asyncio.create_task(load()) for _ in range(4)]
    joined = shop.system.start(PROJECTIONS)
    await shop.served(one, joined)
    joined.signal(signal.SIGTERM)
    await asyncio.to_thread(joined.end)
    await shop.served(one)
    stop.set()
    await asyncio.gather(*loads)
    for id in taken[-200:]:
        status, body, _ = await shop.get(one, id, Prefer="wait=20")
        assert (200, "accepted", 1) == (status, body["status"], body["aggregate"]["sequence"])
