"""A shop that runs: how tests order in it, and what it shows."""

from __future__ import annotations

from typing import Any

from tests.e2e.client import eventually
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import System
from tests.e2e.worker import Worker

SECONDS = 30.0


class Shop:
    """A running shop: how to order in it, and what it shows."""

    def __init__(self, system: System, door: Worker, checkout: Worker) -> None:
        self.system, self.door, self.checkout = system, door, checkout

    async def stock(self, sku: str, pieces: int) -> None:
        """Define a product, with so many pieces."""
        for command, data in (("DefineProduct", {"name": sku, "price": "1.00"}), ("Restock", {"quantity": pieces})):
            reply = await self.system.ask("product", sku, command, data)
            assert "accepted" == reply["status"], reply

    async def place(self, id: str, *lines: tuple[str, int]) -> None:
        """Open, fill and place an order."""
        commands: list[tuple[str, dict[str, Any]]] = [("OpenOrder", OPEN)]
        commands += [("AddLine", {**LINE, "sku": sku, "quantity": pieces}) for sku, pieces in lines]
        for command, data in [*commands, ("PlaceOrder", {})]:
            reply = await self.system.ask("order", id, command, data)
            assert "accepted" == reply["status"], reply

    async def row(self, path: str) -> Any:
        status, body, _ = await self.system.get(self.door, path)
        return body if status == 200 else None

    async def becomes(self, id: str, status: str, seconds: float = SECONDS) -> Any:
        """The order's row when it has this status."""

        async def has() -> Any:
            row = await self.row(f"/orders/{id}")
            return row if row and row["status"] == status else None

        return await eventually(has, seconds, lambda: f"{id} is not {status}: {self.checkout.tail()}")

    async def pieces(self, sku: str, available: int, reserved: int, shipped: int = 0) -> None:
        """Return when the product's row says so."""
        expected = (available, reserved, shipped)
        found: Any = None

        async def has() -> bool:
            nonlocal found
            row = await self.row(f"/products/{sku}")
            found = row and (row["available"], row["reserved"], row["shipped"])
            return bool(found == expected)

        await eventually(has, SECONDS, lambda: f"{sku}: {found}, not {expected}")
