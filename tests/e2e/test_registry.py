"""Events in the wire format of a registry: on workers, with one that goes away and comes, and beside older values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from servers.where import REGISTRY_PATH, Where
from tests.chaos.servers import Server, server_port
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

OPEN = {"user_id": "17850", "kind": "sale", "country": "France", "opened_at": "2010-12-01T08:26:00Z"}
LINE = {"sku": "85123A", "description": "T-LIGHT HOLDER", "quantity": 6, "unit_price": "2.55"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry of these tests alone, not started yet."""
    usual = Where.from_environment()
    where = replace(usual, root=tmp_path_factory.mktemp("registry"), jars=usual.root, registry_port=server_port())
    server = Server("registry", where)
    yield server
    server.end()


def url_of(registry: Server) -> str:
    return f"http://{registry.address}{REGISTRY_PATH}"


async def ask_registry(registry: Server, path: str) -> Any:
    """What the registry says."""
    async with aiohttp.ClientSession() as client, client.get(url_of(registry) + path) as response:
        assert 200 == response.status, await response.text()
        return await response.json(content_type=None)


async def sell(system: System, door: Worker, id: str) -> None:
    """An order with a line, seen in the table at once."""
    await system.ask("order", id, "OpenOrder", OPEN)
    reply = await system.ask("order", id, "AddLine", LINE)
    status, row, _ = await system.get(door, f"/orders/{id}", At_Least=reply["position"], Prefer="wait=20")
    assert (200, "15.30") == (status, row["total"]), (row, door.tail())


async def values(system: System, id: str) -> list[bytes]:
    """The values of an order's events."""
    return [record.value for record in await system.read("order-events") if record.key == id.encode()]


async def ends(worker: Worker, seconds: float = 30) -> int:
    """The exit status of a worker that ends by itself."""
    await eventually(lambda: not worker.running, seconds, worker.tail)
    return int(worker.process.wait())


async def stop(worker: Worker) -> None:
    worker.process.terminate()
    await ends(worker)


async def test_a_registry_comes_goes_and_comes_back(system: System, registry: Server) -> None:
    """A worker publishes the wire format from the day that there is a registry, tables are right over both forms, and a
    registry that is down harms nobody who knows the schemas; who starts meanwhile waits, says so, and then serves."""
    await system.all_served(system.start(ORDERS))
    door = system.start(PROJECTIONS)
    await system.all_served(door)
    await sell(system, door, "before")
    await stop(door)

    # Not there yet: a worker that needs it waits.
    settings = {"SCHEMA_REGISTRY_URL": url_of(registry)}
    folder = system.data / "door"
    door = system.start(PROJECTIONS, folder, **settings)
    await eventually(
        lambda: [line for line in door.lines if "schema registry" in line and "waiting" in line], 30, door.tail
    )
    await registry.start()
    await system.all_served(door)
    await sell(system, door, "registered")
    assert [b"\xc3", b"\xc3", b"\x00", b"\x00"] == [
        value[:1] for id in ("before", "registered") for value in await values(system, id)
    ]
    for value in await values(system, "registered"):
        found = json.loads(
            (await ask_registry(registry, f"/schemas/ids/{int.from_bytes(value[1:5], 'big')}"))["schema"]
        )
        assert ("shop.order", True, 1) == (
            found["namespace"],
            found["name"] in ("OrderOpened", "LineAdded"),
            found["version"],
        )
    subjects = await ask_registry(registry, "/subjects")
    assert system.topic("order-events") + "-shop.order.LineAdded" in subjects
    versions = await ask_registry(
        registry, f"/subjects/{system.topic('product-events')}-shop.product.StockRefused/versions"
    )
    assert [1, 2, 3, 4, 5] == versions

    # Gone: what is known goes on.
    await registry.kill()
    for number in range(5):
        await sell(system, door, f"without-{number}")
    assert {b"\x00"} == {value[:1] for value in await values(system, "without-4")}
    assert 200 == (await system.get(door, "/orders/before"))[0]

    # Back, and empty: who may not register ends with the command to run, after which it serves.
    await stop(door)
    await registry.start()
    refused = system.start(PROJECTIONS, folder, SETUP="never", **settings)
    assert 2 == await ends(refused)
    assert "schemas register" in refused.tail()
    done = await system.run("-A", PROJECTIONS, "schemas", "register", **settings)
    assert 0 == done.returncode, done.stderr
    assert "shop.order.LineAdded version 1: registered" in done.stdout
    door = system.start(PROJECTIONS, folder, SETUP="never", **settings)
    await system.all_served(door)
    await sell(system, door, "after")
    for id in ("before", "registered", "without-2"):
        status, row, _ = await system.get(door, f"/orders/{id}")
        assert (200, "15.30") == (status, row["total"])


async def test_register_without_a_registry_is_wrong_use(system: System) -> None:
    """The command says which setting is missing; one that cannot be reached is said in one line."""
    missing = await system.run("-A", PROJECTIONS, "schemas", "register")
    assert (2, True) == (missing.returncode, "SCHEMA_REGISTRY_URL is not set" in missing.stderr)
    nobody = await system.run("-A", PROJECTIONS, "schemas", "register", SCHEMA_REGISTRY_URL="http://127.0.0.1:9")
    assert (1, 1) == (nobody.returncode, len(nobody.stderr.strip().splitlines()))
    assert "is it up" in nobody.stderr
