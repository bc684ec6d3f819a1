"""The shop goes on without its parts: the short form of the matrix, for every run of the tests."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest

from aggregates.shop.order import order
from aggregates.shop.product import product
from tests.autonomy.fleet import Fleet
from tests.autonomy.shoppers import Shoppers, events_of
from tests.e2e.client import eventually
from tests.e2e.orders import LINE, OPEN
from tests.e2e.worker import CHECKOUT

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOWN_SECONDS = 2.0
ORDERS, AT_ONCE = 200, 20
SHIPPING = "tests.autonomy.shipping"


@pytest.mark.parametrize("down", [("products", "checkout"), ("projections",)], ids="-".join)
async def test_orders_wait_and_are_confirmed(fleet: Fleet, down: tuple[str, ...]) -> None:
    """Orders are placed whatever is down, and wait; when it is back each ends as it has to, its stock reserved once."""
    result = await fleet.without(down, DOWN_SECONDS)
    assert result.waiting > 0
    assert (0, 0) == (result.lost, result.doubled)


async def test_a_deadline_passes(fleet: Fleet) -> None:
    """Products stay away for too long: the order is rejected in time, and says why. When they are back, what they then
    reserve for it is given back."""
    system, door = fleet.system, fleet.workers["projections"]
    for command, data in (("DefineProduct", {"name": "tea", "price": "1.00"}), ("Restock", {"quantity": 10})):
        assert "accepted" == (await system.ask("product", "tea", command, data))["status"]
    await fleet.take_down(["products", "checkout"])
    hasty = system.start(CHECKOUT, fleet.workers["checkout"].folder, CHECKOUT_DEADLINE="2")
    await system.all_served(hasty)
    for command, data in (("OpenOrder", OPEN), ("AddLine", {**LINE, "sku": "tea"}), ("PlaceOrder", {})):
        assert "accepted" == (await system.ask("order", "too-late", command, data))["status"]

    async def rejected() -> bool:
        row = (await system.get(door, "/orders/too-late"))[1]
        return bool(row.get("reason") == "not reserved in time" and row["status"] == "rejected")

    await eventually(rejected, 60, hasty.tail)
    hasty.signal(signal.SIGTERM)
    await asyncio.to_thread(hasty.end)
    await fleet.start(["products", "checkout"])

    async def given_back() -> bool:
        row = (await system.get(door, "/products/tea"))[1]
        return bool((row["available"], row["reserved"], row["sequence"]) == (10, 0, 4))

    await eventually(given_back, 60, fleet.workers["products"].tail)


async def test_a_new_service_catches_up(fleet: Fleet) -> None:
    """Shipping joins when hundreds of orders are confirmed: it hears all from the beginning of the topics, each is
    shipped once, its stock too, and those that come later as well. Nobody else was told, or started again."""
    system, shoppers = fleet.system, Shoppers(fleet.system, "early")
    await shoppers.stock()
    for _ in range(ORDERS // AT_ONCE):
        await asyncio.gather(*(shoppers.shop() for _ in range(AT_ONCE)))
    await shoppers.all_ended(60)
    confirmed = await ids_of(fleet, "OrderConfirmed")
    assert len(confirmed) >= ORDERS * 8 // 10

    shipping = system.start(SHIPPING)
    await system.all_served(shipping)
    late = Shoppers(system, "late")
    await late.stock()
    await late.shop()
    await late.all_ended(60)

    async def all_shipped() -> bool:
        ended = await ids_of(fleet, "OrderShipped", "OrderCancelled")
        return set(await ids_of(fleet, "OrderConfirmed")) <= set(ended)

    await eventually(all_shipped, 60, shipping.tail)
    assert {1} == set((await ids_of(fleet, "OrderShipped")).values())
    assert len(await ids_of(fleet, "OrderShipped")) > ORDERS * 7 // 10
    assert "late-0" in await ids_of(fleet, "OrderShipped")
    await eventually(lambda: stock_follows(fleet), 60, "not all stock is shipped")
    assert [] == await system.read("shipping-dead-letters")
    assert [] == await system.read("order-dead-letters")


async def ids_of(fleet: Fleet, *events: str) -> Counter[str]:
    """The orders that have such an event, and how many each."""
    return Counter(id for id, its in await events_of(fleet.system, "orders", order) if type(its).__name__ in events)


async def stock_follows(fleet: Fleet) -> bool:
    """Whether of the pieces that were reserved for an order and not given back all are shipped."""
    balance: Counter[tuple[str, str]] = Counter()
    pieces = {"StockReserved": 1, "StockReleased": -1, "StockShipped": -1}
    for sku, event in await events_of(fleet.system, "products", product):
        if sign := pieces.get(type(event).__name__):
            balance[sku, event.order_id] += sign * event.quantity
    return set(balance.values()) <= {0}
