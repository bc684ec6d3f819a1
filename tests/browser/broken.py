"""A shop of which five things are broken at once, each of them really: a worker that was killed, a table that a bug
keeps from an event, a command that nobody knows, an aggregate in quarantine, and an event that a process manager cannot
hear."""

from __future__ import annotations

import signal
from typing import Any

from tests.broken.checkout import GUEST
from tests.broken.read_side import ATLANTIS
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import PRODUCTS, TIMERS, USERS, Worker

ORDERS, CHECKOUT, READ_SIDE = "tests.broken.orders", "tests.broken.checkout", "tests.broken.read_side"
START_SECONDS = 180.0
FOUND_SECONDS = 60.0
LINE = {"sku": "tea", "description": "Tea, 100 g", "quantity": 2, "unit_price": "2.55"}
FREE = {**LINE, "sku": "sample", "description": "A sample of tea", "unit_price": "0.00"}
POISONED, LOST, GUESTS = "536370", "536371", "536372"
"""The orders to which it happens."""
BROKEN = {
    "no-worker:products": "Start a worker of products.",
    "key-waits:orders": "Mend the projection",
    "dead-letters:order:ShipOrdr:": "See what it was",
    f"quarantine:order:{POISONED}": "Mend the bug, restart the workers, and retry",
    "input-held:checkout:": "Deploy the version of checkout that can hear this event.",
}
"""With what the ids of the five findings begin, and the one thing to do about each."""
BESIDES = "dead-letters:order:AddLine:"
"""The command that made the domain raise is a dead letter, too."""


async def start(system: System) -> dict[str, Worker]:
    """A worker of each context and one of the read side, by module, when all is well."""
    modules = (ORDERS, PRODUCTS, USERS, CHECKOUT, TIMERS, READ_SIDE)
    workers = {module: system.start(module, QUARANTINE="on") for module in modules}

    async def are_ready() -> bool:
        return all([await system.partitions(worker) for worker in workers.values()])

    await eventually(are_ready, START_SECONDS, lambda: "\n".join(worker.tail() for worker in workers.values()))
    found: list[Any] = []

    async def is_well() -> bool:
        found[:] = await findings(system, workers[READ_SIDE])
        return not found

    await eventually(is_well, START_SECONDS, lambda: str(found))
    return workers


async def findings(system: System, door: Worker) -> Any:
    """What is found now."""
    status, verdict, _ = await system.get(door, "/findings")
    return verdict["findings"] if status == 200 else [verdict]


async def sell(system: System, order: str, user: str = "17850", country: str = "France") -> None:
    """An order with a line, not placed yet."""
    await system.ask("order", order, "OpenOrder", {"user_id": user, "kind": "sale", "country": country}, seconds=60)
    await system.ask("order", order, "AddLine", LINE, seconds=60)


async def break_five(system: System, workers: dict[str, Worker]) -> list[Any]:
    """Break them, and return the findings, as soon as all five are among them."""
    workers[PRODUCTS].signal(signal.SIGKILL)
    await sell(system, LOST, country=ATLANTIS)
    await sell(system, POISONED)
    await sell(system, GUESTS, user=GUEST)
    assert "failed" == (await system.ask("order", LOST, "ShipOrdr", {}))["status"]
    assert "failed" == (await system.ask("order", POISONED, "AddLine", FREE))["status"]
    for _ in range(2):
        await system.command("order", POISONED, "AddLine", LINE)
    assert "accepted" == (await system.ask("order", GUESTS, "PlaceOrder", {}))["status"]
    found: list[Any] = []

    async def are_found() -> bool:
        found[:] = await findings(system, workers[READ_SIDE])
        return all(any(finding.get("id", "").startswith(id) for finding in found) for id in BROKEN)

    await eventually(are_found, FOUND_SECONDS, lambda: str(found))
    return found
