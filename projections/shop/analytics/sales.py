"""Revenue by day and country, and sales by product, as partial sums that each partition of orders keeps.

`counted.py` says which orders count, and on which day. Sales by product are kept twice: of all time, where the rows do
not grow in number with the years, and by month, where a window reads the rows of its own months only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Literal

from projections.projection import Projection, PublishedEvent, Row
from projections.shop.analytics.counted import by_product, counted, day, month
from projections.shop.analytics.question import (
    ALL,
    EVER,
    SEPARATOR,
    Keys,
    Window,
)
from projections.shop.money import amount

NO_COUNTRY = "-"
"""Where an order does not say its country."""
By = Literal["day", "month", "country"]
MOST_PRODUCTS = 1_000
"""The most products in one answer."""


def _day_and_country(published: PublishedEvent) -> Iterable[str]:
    found = counted(published)
    return (f"{day(found.sale)}{SEPARATOR}{found.sale.country or NO_COUNTRY}",) if found else ()


def _add_revenue(row: Row | None, key: str, published: PublishedEvent) -> Row:
    found = counted(published)
    assert found is not None
    of_day, _, country = key.partition(SEPARATOR)
    before = row or {"orders": 0, "revenue": "0"}
    return {
        "day": of_day,
        "country": country,
        "orders": before["orders"] + (found.times if found.sale.kind == "sale" else 0),
        "revenue": str(Decimal(before["revenue"]) + found.sign * found.sale.total),
    }


def _skus(published: PublishedEvent) -> Iterable[str]:
    found = counted(published)
    return by_product(found.sale) if found else ()


def _month_and_sku(published: PublishedEvent) -> Iterable[str]:
    found = counted(published)
    return (f"{month(found.sale)}{SEPARATOR}{sku}" for sku in by_product(found.sale)) if found else ()


def _add_sales(row: Row | None, sku: str, published: PublishedEvent) -> Row:
    """`orders` is the number of sales and credits that count. The description is that of the newest order by its own
    time, and stays where that is withdrawn, so it is the same whatever order events come in."""
    found = counted(published)
    assert found is not None
    lines = by_product(found.sale)[sku]
    at, description = found.sale.opened_at.isoformat(timespec="milliseconds"), lines[-1].description
    before = row or {"described_at": at, "description": description, "orders": 0, "quantity": 0, "revenue": "0"}
    described_at, description = max((at, description), (before["described_at"], before["description"]))
    revenue = sum((line.quantity * line.unit_price for line in lines), Decimal(0))
    return {
        "sku": sku,
        "description": description,
        "described_at": described_at,
        "orders": before["orders"] + found.times,
        "quantity": before["quantity"] + found.sign * sum(line.quantity for line in lines),
        "revenue": str(Decimal(before["revenue"]) + found.sign * revenue),
    }


def _add_monthly_sales(row: Row | None, key: str, published: PublishedEvent) -> Row:
    of_month, _, sku = key.partition(SEPARATOR)
    return {"month": of_month, **_add_sales(row, sku, published)}


revenue = Projection("revenue", 1, "order", _add_revenue, _day_and_country, local=True)
sales_by_product = Projection("sales-by-product", 2, "order", _add_sales, _skus, local=True)
sales_by_month = Projection("sales-by-month", 1, "order", _add_monthly_sales, _month_and_sku, local=True)


def by_period(rows: Iterable[Row], by: str, country: str | None = None, window: Window = EVER) -> list[Row]:
    """Partial rows added up by `day` or `month`, oldest first, or by `country`, the one that earns the most first."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if (country is None or row["country"] == country) and window.holds(row["day"]):
            group = row["country"] if by == "country" else row["day"][: 7 if by == "month" else 10]
            sums[group] += Decimal(row["revenue"])
    return _listed(sums, by)


def _listed(sums: Mapping[str, Decimal], by: str) -> list[Row]:
    name, order = _name(by), sorted(sums)
    if by == "country":
        order.sort(key=lambda country: -sums[country])
    return [{name: group, "revenue": amount(sums[group])} for group in order]


def _name(by: str) -> str:
    return "country" if by == "country" else "period"


def summed(rows: Iterable[Row], window: Window = EVER) -> list[Row]:
    """Partial rows of sales, by month those of a window, added up by product: fewer rows, as partial as before."""
    sums: dict[str, Row] = {}
    for row in rows:
        if "month" in row and not window.holds(row["month"]):
            continue
        known = sums.get(row["sku"])
        if known is None:
            names = ("sku", "description", "described_at", "orders", "quantity", "revenue")
            sums[row["sku"]] = {name: row[name] for name in names}
            continue
        known["described_at"], known["description"] = max(
            (row["described_at"], row["description"]), (known["described_at"], known["description"])
        )
        known["orders"] += row["orders"]
        known["quantity"] += row["quantity"]
        known["revenue"] = str(Decimal(known["revenue"]) + Decimal(row["revenue"]))
    return list(sums.values())


def top(rows: Iterable[Row], n: int) -> list[Row]:
    """Partial rows added up by product: the `n` that earn the most, of those in an order that counts."""
    counting = [row for row in summed(rows) if row["orders"]]
    best = sorted(counting, key=lambda row: (-Decimal(row["revenue"]), row["sku"]))[:n]
    return [
        {**{name: row[name] for name in ("sku", "description", "quantity")}, "revenue": amount(Decimal(row["revenue"]))}
        for row in best
    ]


@dataclass(frozen=True)
class Revenue:
    """Revenue by day, month or country; of one country or all, of a window or all time."""

    by: By = "month"
    country: str | None = None
    window: Window = EVER

    @property
    def table(self) -> str:
        return revenue.name

    @property
    def keys(self) -> Keys:
        return self.window.days()

    def here(self, rows: Iterable[Row]) -> list[Row]:
        return by_period(rows, self.by, self.country, self.window)

    def answer(self, parts: Iterable[list[Row]]) -> Row:
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for row in chain.from_iterable(parts):
            sums[row[_name(self.by)]] += Decimal(row["revenue"])
        return {"by": self.by, "revenue": _listed(sums, self.by)}


@dataclass(frozen=True)
class TopProducts:
    """The products that earn the most, of some months or all time."""

    n: int = 10
    window: Window = EVER

    @property
    def table(self) -> str:
        return (sales_by_product if self.window == EVER else sales_by_month).name

    @property
    def keys(self) -> Keys:
        return ALL if self.window == EVER else self.window.months()

    def here(self, rows: Iterable[Row]) -> list[Row]:
        return summed(rows, self.window)

    def answer(self, parts: Iterable[list[Row]]) -> Row:
        return {"products": top(chain.from_iterable(parts), self.n)}
