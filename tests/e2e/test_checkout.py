"""Checkout across contexts: an order placed is confirmed or rejected over topics alone, and its stock follows."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest
import pytest_asyncio

from tests.e2e.client import eventually
from tests.e2e.orders import LINE, OPEN
from tests.e2e.running_shop import Shop
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """A worker of each context that takes part, and one for the tables."""
    workers = [system.start(module) for module in (PRODUCTS, ORDERS, CHECKOUT, PROJECTIONS)]
    for worker in workers:
        await system.all_served(worker)
    return Shop(system, workers[3], workers[2])


async def test_an_order_is_confirmed(shop: Shop) -> None:
    """Every line is reserved, those of one product together, and the order confirmed; shipping ships its stock."""
    await shop.stock("tea", 10)
    await shop.stock("cup", 10)
    await shop.place("confirmed", ("tea", 3), ("cup", 4), ("tea", 2))
    await shop.becomes("confirmed", "confirmed")
    await shop.pieces("tea", 5, 5)
    await shop.pieces("cup", 6, 4)
    assert "accepted" == (await shop.system.ask("order", "confirmed", "ShipOrder", {}))["status"]
    await shop.pieces("tea", 5, 0, 5)
    await shop.pieces("cup", 6, 0, 4)


async def test_an_order_is_rejected(shop: Shop) -> None:
    """What cannot be had is said with its reason, and nothing stays reserved."""
    await shop.stock("pot", 10)
    await shop.place("too-many", ("pot", 4), ("pan", 1))
    assert "unknown product: pan" == (await shop.becomes("too-many", "rejected"))["reason"]
    await shop.pieces("pot", 10, 0)
    await shop.place("too-many-2", ("pot", 11))
    assert "out of stock: pot" == (await shop.becomes("too-many-2", "rejected"))["reason"]
    await shop.pieces("pot", 10, 0)


async def test_an_order_is_cancelled(shop: Shop) -> None:
    """By its customer, before or after it is confirmed: nothing stays reserved."""
    await shop.stock("lamp", 10)
    for number in range(6):
        await shop.place(f"cancelled-{number}", ("lamp", 1))
        if number % 2:
            await shop.becomes(f"cancelled-{number}", "confirmed")
        reply = await shop.system.ask("order", f"cancelled-{number}", "CancelOrder", {"reason": "changed my mind"})
        assert "accepted" == reply["status"]
    await shop.pieces("lamp", 10, 0)


async def test_a_trace_runs_through(shop: Shop) -> None:
    """What an order causes, in every context, carries the correlation id of its placing and the id of its cause."""
    await shop.stock("mug", 10)
    for command, data in (("OpenOrder", OPEN), ("AddLine", {**LINE, "sku": "mug"})):
        await shop.system.ask("order", "traced", command, data)
    await shop.system.command("order", "traced", "PlaceOrder", {}, "placing")
    await shop.becomes("traced", "confirmed")
    found: dict[str, dict[str, str]] = {}
    for type in ("order", "product"):
        for record in await shop.system.read(f"{type}-events"):
            headers = {name: value.decode() for name, value in record.headers}
            if headers["ce_correlationid"] == "placing":
                found[headers["ce_type"]] = headers
    assert {"OrderPlaced", "StockReserved", "OrderConfirmed"} == found.keys()
    caused = {dict(record.headers)["ce_id"].decode(): record for record in await shop.system.read("product-commands")}
    cause = dict(caused[found["StockReserved"]["ce_causationid"]].headers)
    assert b"ReserveStock" == cause["ce_type"]
    assert cause["ce_causationid"].startswith(b"checkout-")


async def test_one_effect_whatever_is_killed(shop: Shop) -> None:
    """The checkout is killed again and again while orders are placed: each is confirmed, and reserved exactly once."""
    system, orders, products = shop.system, 120, 4
    for number in range(products):
        await shop.stock(f"hot-{number}", 1_000)
    placing = [
        asyncio.create_task(shop.place(f"killed-{number}", *((f"hot-{sku}", 1) for sku in range(products))))
        for number in range(orders)
    ]
    for kills in range(2):
        await eventually(lambda kills=kills: sum(task.done() for task in placing) > (kills + 1) * 30, 60, "placed")
        shop.checkout.signal(signal.SIGKILL)
        shop.checkout.end()
        shop.checkout = system.start(CHECKOUT, shop.checkout.folder)
        await system.all_served(shop.checkout)
    await asyncio.gather(*placing)
    for number in range(orders):
        await shop.becomes(f"killed-{number}", "confirmed", 60)
    for number in range(products):
        await shop.pieces(f"hot-{number}", 1_000 - orders, orders)
    commits = (await system.commits("products", "product")).values()
    reserved = Counter(
        event.aggregate_id
        for log in commits
        for commit in log
        for event in commit.events
        if event.type == "StockReserved" and event.aggregate_id.startswith("hot-")
    )
    assert {f"hot-{number}": orders for number in range(products)} == reserved
    assert [] == await system.read("checkout-dead-letters")
