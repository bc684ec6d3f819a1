"""A join over HTTP, on two workers: both halves from wherever they are, and the same however they were made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.e2e.client import eventually
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, USERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

CUSTOMERS = [f"customer-{number}" for number in range(4)]
"""The last one is nobody who was registered."""
ORDERS_OF_EACH = 3


async def sold(system: System, customer: str, order: str) -> str:
    """An order of this customer, placed; the position of that."""
    for command, data in (("OpenOrder", {**OPEN, "user_id": customer}), ("AddLine", LINE), ("PlaceOrder", {})):
        reply = await system.ask("order", order, command, data)
        assert "accepted" == reply["status"], reply
    return str(reply["position"])


async def registered(system: System, customer: str) -> str:
    reply = await system.ask("user", customer, "RegisterUser", {"country": "France"})
    assert "accepted" == reply["status"], reply
    return str(reply["position"])


async def joined(system: System, worker: Worker, customer: str, positions: Sequence[str] = ()) -> tuple[int, Any]:
    headers = {"At_Least": ", ".join(positions)} if positions else {}
    status, body, _ = await system.get(worker, f"/customers/{customer}", **headers)
    return status, body


async def told_apart(system: System, doors: Sequence[Worker], customer: str) -> None:
    """Who has an answer is told so, by whichever worker."""
    _, _, headers = await system.get(doors[0], f"/customers/{customer}")
    for door in doors:
        again = await system.get(door, f"/customers/{customer}", If_None_Match=headers["ETag"])
        assert (304, headers["ETag"]) == (again[0], again[2]["ETag"])
    assert 200 == (await system.get(doors[0], f"/customers/{customer}", If_None_Match='"another"'))[0]


async def test_customers(system: System) -> None:
    """Orders of a customer are in any partition, and he is in one of his own; each worker answers for all, one's own
    writes of both types included. Tables that are made anew say the same."""
    started = [system.start(module) for module in (ORDERS, USERS, PROJECTIONS, PROJECTIONS)]
    for worker in started[:2]:
        await system.all_served(worker)
    doors = started[2:]
    await system.all_served(*doors)
    sales = [(customer, f"{customer}-{number}") for customer in CUSTOMERS for number in range(ORDERS_OF_EACH)]
    told = dict(zip(sales, await asyncio.gather(*(sold(system, *sale) for sale in sales)), strict=True))
    known = {customer: await registered(system, customer) for customer in CUSTOMERS[:-1]}

    before: dict[str, Any] = {}
    for customer in CUSTOMERS:
        positions = [position for (of, _), position in told.items() if of == customer]
        positions += [known[customer]] if customer in known else []
        (status, row), other = [await joined(system, door, customer, positions) for door in doors]
        assert (200, row) == other == (status, row)
        assert ({"placed": ORDERS_OF_EACH}, "45.90") == (row["orders"], row["total"])
        assert (row["user"] and row["user"]["country"]) == ("France" if customer in known else None)
        before[customer] = row
    assert 404 == (await joined(system, doors[0], "nobody"))[0]
    await told_apart(system, doors, CUSTOMERS[0])

    url = "--url", doors[0].url
    for projection in ("users", "users-orders"):
        rebuilt = await system.run("-A", PROJECTIONS, "projections", "rebuild", projection, "--wait", *url)
        assert 0 == rebuilt.returncode, rebuilt.stderr
    for customer, row in before.items():
        for door in doors:
            # A worker may hear a moment later than the other that a new table answers.
            async def same(door: Worker = door, customer: str = customer, row: Any = row) -> bool:
                return await joined(system, door, customer) == (200, row)

            await eventually(same, 10, f"{customer} is another one")
