"""Shoppers: whole orders at an even pace, whatever is down meanwhile, and how each of them ended."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import KafkaError

from aggregates.decider import Decider
from aggregates.shop.order import order
from aggregates.shop.product import StockReleased, StockReserved, product
from schemas.codec import Codec
from schemas.registry import Schemas
from tests.e2e.client import eventually
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import System
from tests.e2e.worker import Worker

ORDERS_A_SECOND = 3.0
RESEND_SECONDS = 3.0
PATIENCE_SECONDS = 120.0
STOCK = 100_000
ENDS = {"OrderConfirmed": "confirmed", "OrderRejected": "rejected", "OrderCancelled": "cancelled"}


@dataclass
class Order:
    """One order: what is in it, how it has to end, and when its placing was accepted, by the monotonic clock."""

    id: str
    lines: dict[str, int]
    ends: str
    placed_at: float = 0.0


@dataclass
class Shoppers:
    """Each opens, fills and places an order, and asks again until every command is answered.

    Of ten orders one wants more than there is of a product, and one is cancelled by its customer as soon as it is
    placed. `resumed` counts the commands that were sent again. Stock codes and order ids begin with `name`.
    """

    system: System
    name: str
    orders: list[Order] = field(default_factory=list)
    resumed: int = 0
    _number: itertools.count[int] = field(default_factory=itertools.count)
    _shoppers: list[asyncio.Task[None]] = field(default_factory=list)
    _coming: asyncio.Task[None] | None = None
    _ended: dict[str, tuple[str, float]] = field(default_factory=dict)
    _read: int = 0

    @property
    def skus(self) -> list[str]:
        """Three products of which there is plenty, and one that is rare."""
        return [f"{self.name}-{product}" for product in ("tea", "cup", "pot", "rare")]

    async def stock(self) -> None:
        """Fill the shelves."""
        for sku in self.skus:
            await self.ask("product", sku, "DefineProduct", {"name": sku, "price": "1.00"})
            await self.ask("product", sku, "Restock", {"quantity": 1 if sku.endswith("rare") else STOCK})

    def begin(self) -> None:
        """They come one after another until `end`."""

        async def come() -> None:
            while True:
                self._shoppers.append(asyncio.create_task(self.shop()))
                await asyncio.sleep(1 / ORDERS_A_SECOND)  # the pace; nothing is waited for

        self._coming = asyncio.create_task(come())

    async def end(self) -> None:
        """No more come; return when all have placed their orders."""
        assert self._coming is not None
        self._coming.cancel()
        await asyncio.gather(self._coming, return_exceptions=True)
        await asyncio.gather(*self._shoppers)

    async def shop(self) -> None:
        """One order, and its customer."""
        number = next(self._number)
        tea, cup, pot, rare = self.skus
        lines = {tea: 1 + number % 3, cup: 2} | ({pot: 1} if number % 2 else {})
        ends = {3: "rejected", 7: "cancelled"}.get(number % 10, "confirmed")
        it = Order(f"{self.name}-{number}", lines | ({rare: 2} if ends == "rejected" else {}), ends)
        self.orders.append(it)
        await self.send("user", f"{it.id}-customer", "RegisterUser", {"country": "France"})
        await self.ask("order", it.id, "OpenOrder", OPEN)
        for sku, pieces in it.lines.items():
            await self.ask("order", it.id, "AddLine", {**LINE, "sku": sku, "quantity": pieces})
        await self.ask("order", it.id, "PlaceOrder", {})
        it.placed_at = time.monotonic()
        if ends == "cancelled":
            await self.ask("order", it.id, "CancelOrder", {"reason": "changed my mind"})

    async def send(self, type: str, key: str, command: str, data: dict[str, Any]) -> None:
        """A command that nobody waits for; on the broker when this returns."""
        id = uuid.uuid4().hex
        while True:
            try:
                async with asyncio.timeout(RESEND_SECONDS):
                    await self.system.command(type, key, command, data, id)
                return
            except (KafkaError, TimeoutError):
                self.resumed += 1

    async def ask(self, type: str, key: str, command: str, data: dict[str, Any]) -> None:
        """Send a command, again and again with the same id, until it is answered: accepted."""
        inbox, topic, id = await self.system.answers(), self.system.topic("answers"), uuid.uuid4().hex
        deadline = time.monotonic() + PATIENCE_SECONDS
        for attempt in itertools.count():
            self.resumed += attempt > 0
            again = time.monotonic() + RESEND_SECONDS
            try:
                async with asyncio.timeout(RESEND_SECONDS):
                    await self.system.command(type, key, command, data, id, topic)
            except (KafkaError, TimeoutError):
                pass  # Kafka is down
            while time.monotonic() < again and not inbox.by_key[id]:
                await asyncio.sleep(0.02)
            if inbox.by_key[id]:
                reply = await inbox.answer(id)
                assert "accepted" == reply["status"], reply
                return
            assert time.monotonic() < deadline, f"no answer to {command} of {key}"

    # -- how they ended --------------------------------------------------------------------------------

    async def ended(self) -> dict[str, tuple[str, float]]:
        """How orders have ended by id, and when that was seen on the events topic. The last word counts."""
        inbox, ids = await self.system.inbox("order-events"), {it.id for it in self.orders}
        for number in range(self._read, len(inbox.times)):
            record = inbox.records[number]
            ends = ENDS.get(dict(record.headers)["ce_type"].decode())
            if ends is not None and (id := record.key.decode()) in ids:
                self._ended[id] = ends, inbox.times[number]
        self._read = len(inbox.times)
        return self._ended

    async def all_ended(self, seconds: float) -> None:
        """Return when each has ended as it has to."""

        left: dict[str, str] = {}

        async def none_left() -> bool:
            ended = await self.ended()
            left.clear()
            left.update({it.id: it.ends for it in self.orders if ended.get(it.id, ("",))[0] != it.ends})
            return not left

        def what() -> str:
            logs = "\n".join(worker.tail() for worker in self.system.workers if worker.running)
            return f"{len(left)} of {len(self.orders)} orders have not ended as they have to: {left}\n{logs}"

        await eventually(none_left, seconds, what)

    async def check_users(self, seconds: float) -> None:
        """Return when every customer is registered: none of these commands got lost either."""
        inbox = await self.system.inbox("user-events")
        customers = [f"{it.id}-customer" for it in self.orders]
        await eventually(lambda: all(inbox.by_key[id] for id in customers), seconds, "customers are not registered")

    async def lost_and_doubled(self) -> tuple[int, int]:
        """How many orders have not ended as they have to in the journals, and how much happened there twice.

        Pieces of an order are reserved once by product, and released once unless it is confirmed.
        """
        found: Counter[tuple[str, ...]] = Counter()
        for sku, event in await events_of(self.system, "products", product):
            if sku in self.skus and isinstance(event, StockReserved | StockReleased):
                found[event.order_id, type(event).__name__, sku] += 1
        for id, event in await events_of(self.system, "orders", order):
            if type(event).__name__ in ENDS:
                found[id, ENDS[type(event).__name__]] += 1
        ids = {it.id for it in self.orders}
        for it in self.orders:
            for sku in it.lines:
                reserved, released = found[it.id, "StockReserved", sku], found[it.id, "StockReleased", sku]
                assert reserved - released == (it.ends == "confirmed"), f"{it}: {sku}: {reserved}, {released}"
        lost = sum(not found[it.id, it.ends] for it in self.orders)
        return lost, sum(max(count - 1, 0) for what, count in found.items() if what[0] in ids)

    async def check_stock(self, door: Worker, seconds: float) -> None:
        """Return when every product's row says what the confirmed orders leave, and nothing is held for others."""
        sold: Counter[str] = Counter()
        for it in self.orders:
            if it.ends == "confirmed":
                sold.update(it.lines)
        expected = {sku: ((1 if sku.endswith("rare") else STOCK) - sold[sku], sold[sku]) for sku in self.skus}
        found: dict[str, Any] = {}

        async def right() -> bool:
            for sku in self.skus:
                status, row, _ = await self.system.get(door, f"/products/{sku}")
                found[sku] = (row["available"], row["reserved"]) if status == 200 else status
            return found == expected

        await eventually(right, seconds, lambda: f"(available, reserved): {found}, not {expected}")


async def events_of(system: System, context: str, decider: Decider[Any, Any, Any]) -> list[tuple[str, Any]]:
    """All events of a context's journal, each with the id of its aggregate."""
    schemas = Schemas.load("shop", decider.type)
    codec = Codec([s for s in schemas if s.name not in decider.commands], decider.events, schemas.upcasters)
    logs = (await system.commits(context, decider.type)).values()
    rows = (row for log in logs for commit in log for row in commit.events if row.is_event)
    return [(row.aggregate_id, event) for row in rows for event in codec.decode(row.data)]
