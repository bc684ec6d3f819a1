"""A system in memory: what is sent is followed to its end, and time passes when it is told to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aggregates.shop.checkout import checkout
from aggregates.shop.order import AddLine, CancelOrder, OpenOrder, PlaceOrder, order
from aggregates.shop.product import DefineProduct, Restock, product
from projections.projection import Projection, PublishedEvent
from projections.shop.tables.orders import orders
from projections.stores.declaration import Table
from sourced.testing import Principal, Send, System
from streams.aggregate_type import AggregateType
from streams.settings import Settings
from tests.unit.testing import parcels
from tests.unit.testing.parcels import PayOrder, parcel, question, shipping


@dataclass(frozen=True)
class Paid:
    """A typed row."""

    orders: int


def count(row: Paid | None, key: str, event: PublishedEvent) -> Paid | None:
    if event.type != "OrderPaid":
        return row
    return Paid((row.orders if row else 0) + 1)


paid = Projection("paid", 1, "order", count, keys=lambda event: ("all",), local=True, row=Paid)


def small() -> System:
    return System(parcels.order, shipping, parcel, question, projections=[paid])


def test_all_follows() -> None:
    """A command is decided, heard and followed through all types before its reply is there."""
    system = small()
    reply = system.send(parcels.order, "A", PayOrder())
    assert ("accepted", ("OrderPaid",)) == (reply.status, reply.events)
    assert ["A-1"] == system.ids(parcel)
    assert "sent" == system.state(shipping, "A").status
    assert Paid(1) == system.row(paid, "all")


def test_a_timer_of_tomorrow_fires_at_once() -> None:
    """Time passes by `advance` alone, and timers fire at their time."""
    system = small()
    system.send(parcels.order, "A", PayOrder())
    [due] = system.timers.values()
    assert timedelta(days=1) == due - system.now
    system.advance(hours=23)
    assert [] == system.events(question, "A")
    system.advance(hours=1)
    assert [parcels.Asked()] == system.events(question, "A")
    assert {} == system.timers


def test_what_is_refused() -> None:
    """A rejection is a reply; what fails is an error, with the trace of the domain."""
    system = small()
    system.send(parcels.order, "A", parcels.CancelOrder())
    reply = system.send(parcels.order, "A", PayOrder())
    assert reply.error is not None
    assert "WrongStatus" == reply.error.type
    broken = System(parcels.order, parcels.raises, parcel, question)
    broken.send(parcels.order, "A", PayOrder())
    broken.advance(days=1)
    with pytest.raises(AssertionError, match="NoteCancelled to shipping A fails with DomainError: KeyError"):
        broken.send(parcels.order, "A", parcels.CancelOrder())


def test_the_same_id_again() -> None:
    """As in production, a command id has one effect, and another command with it fails."""
    system = small()
    for _ in range(2):
        system.send(parcels.order, "A", PayOrder(), command_id="pay")
    assert [parcels.OrderPaid()] == system.events(parcels.order, "A")
    with pytest.raises(AssertionError, match="IdUsedBefore"):
        system.send(parcels.order, "A", parcels.CancelOrder(), command_id="pay")


def test_what_is_expected_and_by_whom() -> None:
    """The expected sequence is checked, and so is the rule on who may send what."""
    ruled = replace(parcels.order, may=lambda principal, command, state: principal is not None)
    system = System(ruled)
    refused = system.send(ruled, "A", PayOrder())
    assert refused.error is not None
    assert "Forbidden" == refused.error.type
    alice = Principal("oidc", "alice")
    late = system.send(ruled, "A", PayOrder(), by=alice, expecting=3)
    assert late.error is not None
    assert "UnexpectedSequence" == late.error.type
    assert "accepted" == system.send(ruled, "A", PayOrder(), by=alice, expecting=0).status


def test_a_type_that_is_elsewhere() -> None:
    """What goes to types that are not there is kept, to be looked at."""
    system = System(parcels.order, shipping)
    system.send(parcels.order, "A", PayOrder())
    assert [Send("parcel", "A-1", "SendParcel", {"order_id": "A"})] == system.outside


def shop(**options: Any) -> System:
    system = System(order, product, checkout, projections=[orders], schemas="shop", **options)
    system.send(product, "HOLDER", DefineProduct("a holder", Decimal("2.55")))
    system.send(product, "HOLDER", Restock(10))
    return system


def place(system: System, id: str, pieces: int) -> str:
    """Place an order, and what becomes of it."""
    system.send(order, id, OpenOrder("17850", "sale", "France"))
    system.send(order, id, AddLine("HOLDER", "a holder", pieces, Decimal("2.55")))
    system.send(order, id, PlaceOrder())
    return str(system.row(orders, id)["status"])


def test_the_shop() -> None:
    """The three contexts of the shop, with their schemas: what there is is sold, and what is cancelled sold again."""
    system = shop()
    assert ["confirmed", "rejected"] == [place(system, "1", 7), place(system, "2", 4)]
    system.send(order, "1", CancelOrder("changed my mind"))
    assert (10, {}) == (system.state(product, "HOLDER").available, system.timers)
    assert "confirmed" == place(system, "3", 4)
    assert Decimal("2.5500").as_tuple() == next(iter(system.state(order, "3").lines.values())).unit_price.as_tuple()


def test_the_wiring_of_an_app() -> None:
    """An app's own types and tables make a system."""
    settings = Settings.from_environment({})
    contexts = {kind.type: AggregateType("orders", kind, settings, "shop") for kind in (order, product, checkout)}
    system = System(*contexts.values(), projections=[Table(orders)])
    system.send(order, "1", OpenOrder("17850", "sale", "France"))
    assert "open" == system.row(orders, "1")["status"]


def test_each_type_once() -> None:
    """Two kinds of one type are a mistake, and so is asking for one that is not there."""
    with pytest.raises(ValueError, match="two kinds are called order"):
        System(order, parcels.order)
    with pytest.raises(KeyError, match="there is no parcel here: there are order, timer"):
        System(order).state(parcel, "1")


def test_a_schema_is_missing(tmp_path: Path) -> None:
    """With schemas, what has none is said at once."""
    with pytest.raises(Exception, match="no folder"):
        System(parcels.order, schemas=tmp_path)
