"""The size of the baskets of a month: the contents of its sales, and the number of sales by their number of products.

A basket is a sale with the lines that it was placed with; a credit is none. `counted.py` says which sales count, and in
which month.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain

from projections.projection import Projection, PublishedEvent, Row
from projections.shop.analytics.counted import basket, by_product, month
from projections.shop.analytics.question import EVER, Keys, Window
from projections.shop.analytics.recommendation import MOST_PRODUCTS
from projections.shop.money import amount, ratio

SIZES = ("1", "2", "3-5", "6-10", "11-20", "21-30", "31-50", "51-100", "101+")
"""Baskets by the number of their different products. Another division is another version of the projection."""
_BOUNDS = (1, 2, 5, 10, 20, 30, 50, 100)
_WHOLESALE = _BOUNDS.index(MOST_PRODUCTS) + 1
"""The first of the sizes that `recommendation.py` leaves out."""
_COUNTS = ("orders", "products", "lines", "items")


def _month(published: PublishedEvent) -> Iterable[str]:
    found = basket(published)
    return (month(found.sale),) if found else ()


def _add(row: Row | None, key: str, published: PublishedEvent) -> Row:
    found = basket(published)
    assert found is not None
    sale, times = found
    products = len(by_product(sale))
    before = row or {**dict.fromkeys(_COUNTS, 0), "revenue": "0", "sizes": [0] * len(SIZES)}
    sizes = list(before["sizes"])
    sizes[bisect_left(_BOUNDS, products)] += times
    return {
        "month": key,
        "orders": before["orders"] + times,
        "products": before["products"] + times * products,
        "lines": before["lines"] + times * len(sale.lines),
        "items": before["items"] + times * sum(line.quantity for line in sale.lines),
        "revenue": str(Decimal(before["revenue"]) + times * sale.total),
        "sizes": sizes,
    }


baskets = Projection("baskets", 1, "order", _add, _month, local=True)


def summed(rows: Iterable[Row], window: Window = EVER) -> list[Row]:
    """Partial rows of a window added up by month, oldest first: fewer rows, as partial as before."""
    sums: dict[str, Row] = {}
    for row in rows:
        if not window.holds(row["month"]):
            continue
        known = sums.get(row["month"])
        if known is None:
            sums[row["month"]] = {name: row[name] for name in ("month", *_COUNTS, "revenue", "sizes")}
            continue
        for name in _COUNTS:
            known[name] += row[name]
        known["revenue"] = str(Decimal(known["revenue"]) + Decimal(row["revenue"]))
        known["sizes"] = [one + other for one, other in zip(known["sizes"], row["sizes"], strict=True)]
    return [sums[month] for month in sorted(sums)]


def _shown(row: Row) -> Row:
    """A month for people: sums, the average basket, and the baskets by their number of products."""
    revenue = Decimal(row["revenue"])
    averages = {name: ratio(row[name], row["orders"], 2) for name in _COUNTS[1:]}
    return {
        "month": row["month"],
        **{name: row[name] for name in _COUNTS},
        "revenue": amount(revenue),
        "averages": {**averages, "revenue": ratio(revenue, row["orders"], 2)},
        "sizes": dict(zip(SIZES, row["sizes"], strict=True)),
        "wholesale": sum(row["sizes"][_WHOLESALE:]),
    }


@dataclass(frozen=True)
class Baskets:
    """The size of baskets by month, in a window or of all time. A month without a sale that counts is left out."""

    window: Window = EVER

    @property
    def table(self) -> str:
        return baskets.name

    @property
    def keys(self) -> Keys:
        return self.window.months()

    def here(self, rows: Iterable[Row]) -> list[Row]:
        return summed(rows, self.window)

    def answer(self, parts: Iterable[list[Row]]) -> Row:
        return {"baskets": [_shown(row) for row in summed(chain.from_iterable(parts)) if row["orders"]]}
