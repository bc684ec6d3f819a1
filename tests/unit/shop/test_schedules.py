"""The shop under schedules by chance, by the kit that every project has: the checkout promises what it promises.

`test_checkout_model.py` searches small shops to the last interleaving; here are the engine's own handler, schemas and
crashes besides.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from aggregates.shop.checkout import CheckoutCancelled, checkout
from aggregates.shop.order import AddLine, CancelOrder, OpenOrder, PlaceOrder, ShipOrder, order
from aggregates.shop.product import DefineProduct, Restock, product
from sourced.testing import ScheduleFailed, Schedules, Send, Sent, System

PRICE = Decimal("2.55")
SKUS = ("HOLDER", "BOX")


def clients(rng: Random) -> list[list[Sent[Any]]]:
    """Somebody fills the shelves, three customers order more than there is, and some do not wait for it."""
    shelves: list[Sent[Any]] = []
    for sku in SKUS:
        shelves += [Sent(product, sku, DefineProduct(sku, PRICE)), Sent(product, sku, Restock(rng.randint(1, 5)))]
    customers = []
    for id in ("1", "2", "3"):
        lines = [AddLine(sku, sku, rng.randint(1, 3), PRICE) for sku in rng.sample(SKUS, rng.randint(1, 2))]
        ends = rng.choice([[], [CancelOrder("changed my mind")], [ShipOrder()], [ShipOrder(), CancelOrder("late")]])
        commands = [OpenOrder("17850", "sale", "France"), *lines, PlaceOrder(), *ends]
        customers.append([Sent(order, id, command) for command in commands])
    return [shelves, *customers]


def never_below_zero(shop: System) -> None:
    """No shelf is emptier than empty."""
    assert all(shop.state(product, sku).available >= 0 for sku in SKUS)


def nothing_is_held_for_nobody(shop: System) -> None:
    """At rest each order has come to an end, and what is reserved is what confirmed orders have."""
    orders = {id: shop.state(order, id) for id in shop.ids(order)}
    assert not [id for id, state in orders.items() if state.status == "placed"]
    held = dict.fromkeys(SKUS, 0)
    for state in orders.values():
        for line in state.lines.values() if state.status == "confirmed" else ():
            held[line.sku] += line.quantity
    assert held == {sku: sum(shop.state(product, sku).reservations.values()) for sku in SKUS}


def run(schedules: Schedules, manager: Any) -> None:
    shop = System(order, product, manager, schemas="shop")
    schedules.run(shop, clients, always=never_below_zero, at_the_end=nothing_is_held_for_nobody)


def test_the_checkout_holds() -> None:
    """Whatever is late, comes twice or crashes, no piece stays with an order that has ended."""
    run(Schedules(60), checkout)


def test_a_checkout_that_does_not_give_back() -> None:
    """A checkout that releases nothing when its order is cancelled is found."""
    real = checkout.sends

    def sends(process: str, event: Any) -> list[Send]:
        return [] if isinstance(event, CheckoutCancelled) else real(process, event)

    with pytest.raises(ScheduleFailed, match="under the schedule of seed"):
        run(Schedules(60), replace(checkout, sends=sends))
