"""Commands over HTTP, with real workers: every outcome, and what survives which death."""

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

PENDING = 20
"""The most commands without a reply, so that a test can reach it."""

Answer = tuple[int, Any, Mapping[str, str]]


class Shop:
    """An order worker and one gateway, which come and go."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.orders: Worker
        self.gateway: Worker

    async def start_orders(self) -> None:
        """Start the worker that decides, and wait for it."""
        self.orders = self.system.start(ORDERS)
        await self.system.all_served(self.orders)

    async def start_gateway(self, folder: Any = None) -> None:
        """Start the worker that takes commands over HTTP, and wait until it takes them."""
        self.gateway = self.system.start(PROJECTIONS, folder, HTTP_PENDING=str(PENDING))

        async def takes() -> bool:
            try:
                return (await self.get("/commands/nobody"))[0] == 404
            except aiohttp.ClientError:
                return False

        await eventually(takes, 60, self.gateway.tail)

    def stop(self, worker: Worker, how: signal.Signals = signal.SIGTERM) -> None:
        """End a worker, and wait for it."""
        worker.signal(how)
        worker.end()

    async def post(self, path: str, type: str, data: Any, **headers: str) -> Answer:
        """Send a command."""
        return await self.send(path, json.dumps({"type": type, "data": data}), **headers)

    async def send(self, path: str, body: Any, **headers: str) -> Answer:
        """Send anything; answers that are not JSON as text."""
        named = {"Content-Type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.gateway.url + path
        async with self.system.http.post(url, data=body, headers=named) as response:
            text = await response.text()
            is_json = response.content_type.endswith("json")
            return response.status, json.loads(text) if is_json else text, response.headers

    async def get(self, path: str, **headers: str) -> Answer:
        """Ask."""
        return await self.system.get(self.gateway, path, **headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """Both workers, ready."""
    shop = Shop(system)
    await asyncio.gather(shop.start_orders(), shop.start_gateway())
    return shop


def new_id() -> str:
    """An id that nobody has used."""
    return uuid.uuid4().hex


async def test_accepted(shop: Shop) -> None:
    """An accepted command is answered 200 with its reply, whose position any read waits for."""
    status, reply, _ = await shop.post("/orders/%C3%A9-1/commands", "OpenOrder", OPEN, Idempotency_Key="a-1")

    assert (200, "accepted", "a-1") == (status, reply["status"], reply["command_id"]), reply
    assert {"type": "order", "id": "é-1", "sequence": 1} == reply["aggregate"]
    assert ["OrderOpened"] == reply["events"]
    status, row, _ = await shop.get("/orders/%C3%A9-1", At_Least=reply["position"])
    assert (200, "open") == (status, row["status"])
