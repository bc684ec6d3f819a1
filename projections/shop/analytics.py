"""Revenue by day and country, and sales by product, as partial sums that each partition of orders keeps.

A sale counts when it is placed, is taken back when it is rejected or cancelled, and a credit counts
negative. The date is the day the order was opened, in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from aggregates.shop.order import OrderPlaced, Sale, SaleWithdrawn
from projections.projection import Projection, PublishedEvent, Row
from projections.shop.money import amount

NO_COUNTRY = "-"


def _counted(published: PublishedEvent) -> tuple[Sale, int] | None:
    """The sale that an event counts, and its sign."""
    sale: Sale
    match published.event:
        case OrderPlaced() as placed:
            sale, sign = placed, 1
        case SaleWithdrawn() as withdrawn:
            sale, sign = withdrawn, -1
        case _:
            return None
    return sale, sign if sale.kind == "sale" else -sign


def _day_and_country(published: PublishedEvent) -> Iterable[str]:
    counted = _counted(published)
    if counted is None:
        return ()
    sale, _ = counted
    return (f"{sale.opened_at:%Y-%m-%d}|{sale.country or NO_COUNTRY}",)


def _add_revenue(row: Row | None, key: str, published: PublishedEvent) -> Row:
    counted = _counted(published)
    assert counted is not None
    sale, sign = counted
    day, _, country = key.partition("|")
    before = row or {"orders": 0, "revenue": "0"}
    return {
        "day": day,
        "country": country,
        "orders": before["orders"] + (sign if sale.kind == "sale" else 0),
        "revenue": str(Decimal(before["revenue"]) + sign * sale.total),
    }


def _skus(published: PublishedEvent) -> Iterable[str]:
    counted = _counted(published)
    return dict.fromkeys(line.sku for line in counted[0].lines) if counted else ()


def _add_sales(row: Row | None, key: str, published: PublishedEvent) -> Row:
    counted = _counted(published)
    assert counted is not None
    sale, sign = counted
    before = row or {"quantity": 0, "revenue": "0"}
    lines = [line for line in sale.lines if line.sku == key]
    amount = sum((line.quantity * line.unit_price for line in lines), Decimal(0))
    return {
        "sku": key,
        "description": lines[-1].description,
        "quantity": before["quantity"] + sign * sum(line.quantity for line in lines),
        "revenue": str(Decimal(before["revenue"]) + sign * amount),
    }


revenue = Projection("revenue", 1, "order", _add_revenue, _day_and_country, local=True)
sales_by_product = Projection("sales-by-product", 1, "order", _add_sales, _skus, local=True)


def by_period(rows: Iterable[Row], by: str, country: str | None) -> list[Row]:
    """Partial rows of all partitions added up by `day` or `month`, oldest first."""
    sums: dict[str, Decimal] = {}
    for row in rows:
        if country is None or row["country"] == country:
            period = row["day"][: 7 if by == "month" else 10]
            sums[period] = sums.get(period, Decimal(0)) + Decimal(row["revenue"])
    return [{"period": period, "revenue": amount(total)} for period, total in sorted(sums.items())]


def top(rows: Iterable[Row], n: int) -> list[Row]:
    """Partial rows of all partitions added up by product: the `n` that earn the most."""
    sums: dict[str, Row] = {}
    for row in rows:
        known = sums.get(row["sku"])
        sums[row["sku"]] = {
            "sku": row["sku"],
            "description": row["description"],
            "quantity": row["quantity"] + (known["quantity"] if known else 0),
            "revenue": Decimal(row["revenue"]) + (known["revenue"] if known else 0),
        }
    best = sorted(sums.values(), key=lambda row: (-row["revenue"], row["sku"]))[:n]
    return [{**row, "revenue": amount(row["revenue"])} for row in best]
