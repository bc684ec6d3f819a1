"""given / when / then: what holds passes, and what does not says where it differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from aggregates.shop.order import OrderCancelled as OrderCancelledToday
from aggregates.shop.order import OrderOpened, OrderPlaced, SaleWithdrawn, order
from aggregates.shop.product import product
from projections.projection import Projection, PublishedEvent
from sourced.testing import NOW, Principal, Send, Upcasting, Written, given, happened, published, rejected
from tests.unit.testing import parcels
from tests.unit.testing.parcels import (
    NotePaid,
    OrderCancelled,
    OrderPaid,
    ParcelSent,
    PayOrder,
    SendingNoted,
    ShippingBegun,
    parcel,
    shipping,
)

TOMORROW = NOW.replace(day=2)
PAID = happened("order", "A", OrderPaid())
SEND = Send("parcel", "A-1", "SendParcel", {"order_id": "A"})


def failure(check: Any, *args: Any) -> str:
    with pytest.raises(AssertionError) as failed:
        check(*args)
    return str(failed.value)


def test_a_decider() -> None:
    """Events, nothing, a rejection, and the state."""
    given(parcels.order).when(PayOrder()).then(OrderPaid())
    given(parcels.order, OrderPaid()).when(PayOrder()).then_nothing()
    given(parcels.order, OrderCancelled()).when(PayOrder()).then(rejected("WrongStatus"))
    given(parcels.order, OrderCancelled()).when(PayOrder()).then(rejected("WrongStatus", "the order is cancelled"))
    given(parcels.order, OrderPaid()).then_state(parcels.OrderState("paid"))


def test_what_a_decider_does_not_do() -> None:
    """A failure says what was expected and what there is, field by field where they differ."""
    refused = given(parcels.order, OrderCancelled()).when(PayOrder())
    assert "expected events, but it is rejected: WrongStatus: the order is cancelled" == failure(
        refused.then, OrderPaid()
    )
    accepted = given(parcels.order).when(PayOrder())
    assert "expected it to be rejected as Late, but it is [OrderPaid()]" == failure(accepted.then, rejected("Late"))
    begun = given(shipping.decider).when(NotePaid())
    assert "  [0].attempt: expected 2, but it is 1\n  [1]: missing: SendingNoted()" in failure(
        begun.then, ShippingBegun(2, TOMORROW), SendingNoted()
    )
    message = failure(refused.then, rejected("WrongStatus", "it is late"))
    assert message == "expected 'it is late', but it is 'the order is cancelled'"


def test_the_time_of_a_command() -> None:
    """A command that leaves its time open has that of the test, as the engine gives it that of Kafka."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    given(shipping.decider).when(NotePaid()).then(ShippingBegun(1, TOMORROW))
    given(shipping.decider).when(NotePaid(), at=at).then(ShippingBegun(1, at.replace(day=2)))


def test_an_event_that_evolve_does_not_take() -> None:
    """A decision that the domain could not go on from is found with it."""

    def evolve(state: Any, event: Any) -> Any:
        raise KeyError("attempt")

    with pytest.raises(KeyError):
        given(replace(parcels.order, evolve=evolve)).when(PayOrder())


def test_a_process_manager() -> None:
    """It hears, and sends; its own events may be looked at, and its decisions alone."""
    timer = given(shipping).when(PAID).sent[1]
    assert ("timer", "shipping:A", "2026-01-02T12:00:00.000Z") == (timer.to, timer.id, timer.data["due"])
    given(shipping).when(PAID).then(SEND, timer).then_events(ShippingBegun(1, TOMORROW))
    given(shipping, PAID).when(PAID).then_nothing()
    given(shipping, PAID).when(happened("parcel", "A-1", ParcelSent("A"))).then().then_events(SendingNoted())
    given(shipping, PAID).when(("A", parcels.PassDay())).then(Send("question", "A", "Ask"))
    given(shipping, ShippingBegun(1, TOMORROW)).when(parcels.NoteSent()).then(SendingNoted())
    given(shipping, PAID, PAID).then_sends()
    assert "[0].id: expected 'A-2', but it is 'A-1'" in failure(
        given(shipping).when(PAID).then, Send("parcel", "A-2", "SendParcel", {"order_id": "A"}), timer
    )


def test_what_is_heard_is_json() -> None:
    """Fields are as they come over the topic: decimals and times are text."""
    opened = OrderOpened("17850", "sale", "France", datetime(2011, 5, 17, 9, 30, tzinfo=UTC))
    assert "2011-05-17T09:30:00Z" == happened("order", "1", opened).data["opened_at"]
    placed = OrderPlaced("17850", "sale", "France", opened.opened_at, (), Decimal("2.50"))
    assert "2.50" == happened("order", "1", placed).data["total"]


def statuses(row: dict[str, Any] | None, key: str, event: PublishedEvent) -> dict[str, Any] | None:
    if isinstance(event.event, OrderCancelled):
        return None
    return {"id": key, "events": event.sequence}


def test_a_projection() -> None:
    """Rows by key; events are those of aggregate 1 unless they say another."""
    rows = Projection("rows", 1, "order", statuses)
    given(rows, OrderPaid()).then_rows({"1": {"id": "1", "events": 1}})
    given(rows, OrderPaid()).when(OrderCancelled()).then_rows({})
    given(rows, ("A", OrderPaid()), ("B", OrderPaid()), ("A", OrderPaid())).then_row("A", {"id": "A", "events": 2})
    given(rows, published(OrderPaid(), "C", 7)).when(("C", OrderPaid())).then_row("C", {"id": "C", "events": 8})
    given(rows, OrderPaid()).then_row("2", None)
    assert "['1']['events']: expected 2, but it is 1" in failure(
        given(rows, OrderPaid()).then_rows, {"1": {"id": "1", "events": 2}}
    )


def test_a_projection_that_changes_its_row() -> None:
    """What a worker would set aside fails here, too."""

    def adds(row: dict[str, Any] | None, key: str, event: PublishedEvent) -> dict[str, Any]:
        row = row or {"events": 0}
        row["events"] += 1
        return row

    with pytest.raises(TypeError, match="evolve has changed the row that it was given"):
        given(Projection("rows", 1, "order", adds), OrderPaid(), OrderPaid()).then_rows({})


def test_an_upcaster() -> None:
    """What old code has written is read as events of today, through the upcasters."""
    sold = {"user_id": "17850", "kind": "sale", "country": "France", "opened_at": NOW, "lines": [], "total": Decimal(0)}
    reading = given(Upcasting(order, "shop"))
    reading.when(Written("OrderCancelled", 1, {"reason": "late", "withdrawn": None})).then(OrderCancelledToday("late"))
    reading.when(Written("OrderCancelled", 1, {"reason": "late", "withdrawn": sold})).then(
        OrderCancelledToday("late"), SaleWithdrawn("17850", "sale", "France", NOW, (), Decimal(0))
    )
    given(Upcasting(product, "shop")).when(Written("StockLevelNoted", 1, {"available": 3})).then_nothing()
    assert "there is no OrderOpened.v99: there are " in failure(reading.when, Written("OrderOpened", 99, {}))
    assert "no OrderOpened.v1 has these fields" in failure(reading.when, Written("OrderOpened", 1, {}))


def test_who_may() -> None:
    """The rule on who may send what is asked first."""
    ruled = replace(parcel, may=lambda principal, command, state: principal is not None)
    given(ruled).when(parcels.SendParcel("A")).then_forbidden()
    given(ruled).when(parcels.SendParcel("A"), by=Principal("oidc", "alice")).then(ParcelSent("A"))
