"""The tail as an app of its own: events go out, and process managers hear them, while there are no tables."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from streams.journal.position import parse_place
from tests.e2e.client import eventually
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

TAIL = "projections.shop.tail"
SECONDS = 60.0


async def place(system: System, id: str) -> str:
    """An order of one piece. Returns the position of the reply."""
    for command, data in (("OpenOrder", OPEN), ("AddLine", {**LINE, "sku": "A", "quantity": 1}), ("PlaceOrder", {})):
        reply = await system.ask("order", id, command, data)
        assert "accepted" == reply["status"], reply
    return str(reply["position"])


async def published(system: System, id: str) -> list[str]:
    """The types of the events of an order on their topic."""
    return [dict(it.headers)["ce_type"].decode() for it in await system.read("order-events") if it.key == id.encode()]


async def confirmed(system: System, id: str) -> bool:
    return "OrderConfirmed" in await published(system, id)


async def test_events_go_out_without_tables(system: System) -> None:
    """A checkout goes through while the projections are down; they come and catch up, and know what is published. With
    two apps that publish, events are there twice, in order, and the rows are right."""
    context = [system.start(module) for module in (ORDERS, PRODUCTS, CHECKOUT, TAIL)]
    await asyncio.gather(*(system.all_served(worker) for worker in context))
    tail = context[-1]
    for command, data in (("DefineProduct", {"name": "A", "price": "1.00"}), ("Restock", {"quantity": 100})):
        assert "accepted" == (await system.ask("product", "A", command, data))["status"]
    await place(system, "T-1")
    await eventually(lambda: confirmed(system, "T-1"), SECONDS, tail.tail)

    door = system.start(PROJECTIONS, PUBLISH="off")
    await system.all_served(door)
    await eventually(lambda: caught_up(system, door), SECONDS, door.tail)
    assert "confirmed" == (await system.get(door, "/orders/T-1"))[1]["status"]
    position = await place(system, "T-2")
    status, row, _ = await system.get(door, "/orders/T-2", At_Least=position, Prefer="wait=20")
    assert (200, "T-2") == (status, row["id"])
    await eventually(lambda: confirmed(system, "T-2"), SECONDS, tail.tail)
    async with system.http.get(door.url + "/metrics") as response:
        assert "sourced_stream_published_commit{" in await response.text()
    assert 200 == (await system.get(tail, "/health/ready"))[0]

    # By mistake both publish.
    door.signal(signal.SIGTERM)
    await eventually(lambda: not door.running, SECONDS, door.tail)
    second = system.start(PROJECTIONS, folder=door.folder)
    await system.all_served(second)
    for number in range(3, 13):
        await place(system, f"T-{number}")
    await eventually(lambda: confirmed(system, "T-12"), SECONDS, second.tail)
    await eventually(lambda: caught_up(system, second), SECONDS, second.tail)
    first: dict[int, list[tuple[int, int]]] = {}
    for record in await system.read("order-events"):
        at, places = parse_place(dict(record.headers)["ce_position"].decode()), first.setdefault(record.partition, [])
        if at not in places:
            assert not places or at > places[-1]
            places.append(at)
    for number in range(1, 13):
        row = (await system.get(second, f"/orders/T-{number}"))[1]
        assert ("confirmed", 1) == (row["status"], len(row["lines"])), row


async def caught_up(system: System, worker: Worker) -> Any:
    """The answer of `/lag` when all is published and applied, of each type that there is."""
    lag = await system.lag(worker)
    rows = [] if lag is None else lag["streams"]
    done = all((row["published"] or 0) >= row["eventful"] for row in rows)
    return lag if rows and lag["total"] == 0 and done and any(row["eventful"] for row in rows) else None
