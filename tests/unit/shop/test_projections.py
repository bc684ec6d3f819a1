"""The shop's projections: given events, then rows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aggregates.personal import Known, Sealed, blind
from aggregates.shop.order import (
    Line,
    LineAdded,
    LineRemoved,
    OrderCancelled,
    OrderConfirmed,
    OrderOpened,
    OrderPlaced,
    SaleWithdrawn,
)
from aggregates.shop.product import PriceChanged, ProductDefined, Restocked, StockRefused, StockReleased, StockReserved
from aggregates.shop.user import (
    EmailChanged,
    EmailConfirmed,
    EmailGivenUp,
    EmailRefused,
    UserDeactivated,
    UserRegistered,
)
from projections.projection import Projection, Row
from projections.shop.tables.orders import orders
from projections.shop.tables.products import products
from projections.shop.tables.users import users
from schemas.sealing import sealed_of
from sourced.testing.rows import FoldedRows, in_sequence
from tests.folded import published
from tests.specification import given

DAY = datetime(2011, 5, 17, 9, 30, tzinfo=UTC)
LINES = (Line("A", "HOLDER", 6, Decimal("2.5500")), Line("A", "HOLDER", 1, Decimal("1.0000")))
TOTAL = Decimal("16.3000")


def fold(projection: Projection, *events: Any, id: str = "1") -> dict[str, Row]:
    """All rows of a projection after the events of one aggregate."""
    folded = FoldedRows(projection)
    for event in in_sequence((id, event) for event in events):
        folded.apply(event)
    return folded.rows


def personal(text: str) -> Known[str]:
    """A personal value as a projection gets it, of an event that has it in the clear."""
    return Known(None, Sealed("user", "u", 1, "address", "u", text.encode()))


def said(value: Any) -> Any:
    """What such a value in a row says; any other value as it is."""
    return sealed_of(value["sealed"]).envelope.decode() if isinstance(value, dict) else value


def placed() -> OrderPlaced:
    return OrderPlaced("17850", "sale", "France", DAY, LINES, TOTAL)


def withdrawn() -> SaleWithdrawn:
    return SaleWithdrawn("17850", "sale", "France", DAY, LINES, TOTAL)


def test_order_row() -> None:
    """An order's row has its header, its lines with equal ones merged, its exact total and its status."""
    opened = OrderOpened("17850", "sale", "France", DAY)
    added = [LineAdded("A", "HOLDER", 6, Decimal("2.55")), LineAdded("B", "BOX", 1, Decimal("0.001"))]
    row = fold(orders, opened, *added, added[0], LineAdded("A", "HOLDER", 1, Decimal("1")), placed())["1"]
    assert ["placed", "17850", "2011-05-17T09:30:00Z"] == [row["status"], row["user_id"], row["opened_at"]]
    assert [("A", 12, "2.55"), ("B", 1, "0.001"), ("A", 1, "1.00")] == [
        (line["sku"], line["quantity"], line["unit_price"]) for line in row["lines"]
    ]
    assert "31.601" == row["total"]
    cancelled = (OrderCancelled("late"), withdrawn())
    row = fold(orders, opened, *added, LineRemoved("A"), placed(), OrderConfirmed(), *cancelled)["1"]
    assert ("cancelled", "late", "0.001") == (row["status"], row["reason"], row["total"])


def test_product_row() -> None:
    """A product's row follows its price and its stock."""
    defined = [("A", ProductDefined("HOLDER", Decimal("2.55"), ("light",))), ("A", Restocked(10))]
    orders_of_it = [StockReserved("1", 4), StockRefused("2", 9), StockReserved("3", 1), StockReleased("1", 4)]
    row = {"sku": "A", "name": "HOLDER", "categories": ["light"], "shipped": 0}
    stocked = given(products, *defined)
    stocked.then_row("A", {**row, "price": "2.55", "available": 10, "reserved": 0})
    sold = stocked.when(*(("A", event) for event in orders_of_it))
    sold.then_row("A", {**row, "price": "2.55", "available": 9, "reserved": 1})
    sold.when(("A", PriceChanged(Decimal("3")))).then_row("A", {**row, "price": "3.00", "available": 9, "reserved": 1})


def test_user_row() -> None:
    """A user's row has the email that is confirmed, the one that is asked for, and the one that was refused last."""
    events: list[object] = [UserRegistered("France", personal("Ada"))]

    def asked(address: str, request: int) -> EmailChanged:
        return EmailChanged(personal(address), blind(address), request)

    def after(*more: object) -> dict[str, object]:
        events.extend(more)
        row = fold(users, *events, id="u")["u"]
        assert ("u", "France", "Ada") == (row["id"], row["country"], said(row["name"]))
        assert [blind(it) if it else None for it in (said(row["email"]), said(row["email_pending"]))] == [
            row["email_id"],
            row["email_pending_id"],
        ]
        return {name: said(row[name]) for name in ("status", "email", "email_pending", "email_refused")}

    def row(email: str | None, pending: str | None, refused: str | None, status: str = "active") -> dict[str, object]:
        return {"status": status, "email": email, "email_pending": pending, "email_refused": refused}

    assert row(None, "a@b", None) == after(asked("a@b", 1))
    assert row("a@b", None, None) == after(EmailConfirmed(blind("a@b"), 1))
    assert row("a@b", "c@d", None) == after(asked("c@d", 2))
    assert row("a@b", None, "c@d") == after(EmailRefused(blind("c@d"), 2))
    assert row("a@b", "e@f", None) == after(asked("e@f", 3))
    assert row("e@f", None, None) == after(EmailConfirmed(blind("e@f"), 3), EmailGivenUp(blind("a@b"), 3))
    assert row("e@f", "g@h", None) == after(asked("g@h", 4))
    assert row("e@f", None, None) == after(asked("e@f", 5), EmailGivenUp(blind("g@h"), 4))
    assert row(None, None, None, "deactivated") == after(UserDeactivated(), EmailGivenUp(blind("e@f"), 5))


def test_no_row_for_an_unknown_user() -> None:
    """An address that came to an id which nobody has registered is given back, and makes no row."""
    given(users, published(EmailGivenUp(blind("a@b"), 1), "u")).then_rows({})
