"""Sales to put into projections: `placed("6 A 2.55", "1 B 0.001", at=JANUARY)`."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aggregates.shop.order import Line, OrderPlaced, Sale, SaleWithdrawn
from projections.projection import PublishedEvent
from tests.folded import published

DAY = datetime(2011, 5, 17, 9, 30, tzinfo=UTC)
JANUARY = datetime(2011, 1, 31, 23, 59, 59, tzinfo=UTC)
LINES = "6 A 2.55", "1 A 1"


def placed(*lines: str, id: str = "1", **of: Any) -> PublishedEvent:
    """A sale of these lines is placed, or of `LINES`; `kind`, `country` and `at` may be said."""
    return published(OrderPlaced(*_fields(lines or LINES, **of)), id, 1)


def withdrawn(*lines: str, id: str = "1", **of: Any) -> PublishedEvent:
    """The same sale counts no more."""
    return published(SaleWithdrawn(*_fields(lines or LINES, **of)), id, 2)


def _fields(
    lines: tuple[str, ...], kind: Any = "sale", country: str | None = "France", at: datetime = DAY
) -> tuple[Any, ...]:
    wanted = tuple(map(_line, lines))
    total = sum((line.quantity * line.unit_price for line in wanted), Decimal(0))
    sale = Sale("17850", kind, country, at, wanted, total)
    return tuple(getattr(sale, field.name) for field in fields(sale))


def _line(text: str) -> Line:
    """`6 A 2.55`: pieces, stock code and price of what is called THING A."""
    pieces, sku, price = text.split()
    return Line(sku, f"THING {sku}", int(pieces), Decimal(price).quantize(Decimal("0.0001")))
