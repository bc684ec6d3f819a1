"""The tail as an app of its own: events go out, and process managers hear them, while there are no tables."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest

from streams.access.tokens import new_token
from streams.journal.position import parse_place
from tests.e2e.client import eventually
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

TAIL = "projections.shop.tail"
SECONDS = 60.0
AUDITOR = """[[grants]]
to = ["token:door"]
role = "auditor"
contexts = ["*"]
"""


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
    token, line = new_token("door")
    tokens, grants, own = (system.data / name for name in ("tokens", "grants", "token"))
    for file, text in ((tokens, line), (grants, AUDITOR), (own, token)):
        file.write_text(text)
    context = [
        *(system.start(module) for module in (ORDERS, PRODUCTS, CHECKOUT)),
        system.start(TAIL, HTTP_TOKENS_FILE=str(tokens), HTTP_GRANTS_FILE=str(grants)),
    ]
    await asyncio.gather(*(system.all_served(worker) for worker in context))
    tail = context[-1]
    for command, data in (("DefineProduct", {"name": "A", "price": "1.00"}), ("Restock", {"quantity": 100})):
        assert "accepted" == (await system.ask("product", "A", command, data))["status"]
    await place(system, "T-1")
    await eventually(lambda: confirmed(system, "T-1"), SECONDS, tail.tail)

    door = system.start(PROJECTIONS, PUBLISH="off", HTTP_TOKEN_FILE=str(own))
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
    tokens.write_text("no line of a token")
    await eventually_told(system, door, tail)

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


async def eventually_told(system: System, door: Worker, tail: Worker) -> None:
    """What the tail has said once is among the findings of whoever shows the tables, which may look at its group."""

    async def told() -> bool:
        _, verdict, _ = await system.get(door, "/findings")
        assert not any(check["fault"] for check in verdict["checks"] if check["name"] == "notices"), verdict
        said = [each for each in verdict["findings"] if each["id"] == "said:file-unreadable"]
        return any(
            {"kind": "worker", "name": tail.url}.items() <= it.items() for each in said for it in each["concerns"]
        )

    await eventually(told, 20, tail.tail)
    printed = await system.run("-A", PROJECTIONS, "acls", "--json", PUBLISH="off")
    assert 0 == printed.returncode, printed.stderr
    acls = [json.loads(line) for line in printed.stdout.splitlines()]
    [group] = [acl for acl in acls if acl["name"] == f"{system.namespace}tail"]
    assert ("group", ["Describe"]) == (group["resource"], group["operations"])


async def caught_up(system: System, worker: Worker) -> Any:
    """The answer of `/lag` when all is published and applied, of each type that there is."""
    lag = await system.lag(worker)
    rows = [] if lag is None else lag["streams"]
    done = all((row["published"] or 0) >= row["eventful"] for row in rows)
    return lag if rows and lag["total"] == 0 and done and any(row["eventful"] for row in rows) else None
