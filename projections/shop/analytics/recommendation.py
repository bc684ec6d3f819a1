"""Products that are bought together: by month the number of sales of a product, and of each other product with it.

One row per product and month has all of these numbers, for both directions of a pair. So a sale of n products touches n
rows, and a question about one product reads one row per month and partition. With a row per pair a sale would touch
n (n - 1) rows. Of six real months that is 371 rows and 1.2 ms per sale, not 16 rows and 0.13 ms (evolved, and kept in
RocksDB), 2,388,232 rows in all, not 47,515, and 13,155 rows to read about the product that is in most sales, not 48.

A sale of more than `MOST_PRODUCTS` different products is wholesale, which says little of what goes with what, and is
left out; `baskets.py` counts those. `counted.py` says which sales count, and in which month.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from projections.projection import Projection, PublishedEvent, Row
from projections.shop.analytics.counted import Counted, basket, by_product, month
from projections.shop.analytics.question import EVER, SEPARATOR, Keys, Window
from projections.shop.money import ratio

MOST_PRODUCTS = 50
"""Different products of a sale that counts here; another bound is another version of the projection.

Of 7,409 real sales 6.6 % have more, and 52 % of all pairs. What five months recommend, ten products for one, was held
against those sales of the sixth that have at most 30: with a bound of 30, which leaves out 18.6 %, 3.7 % fewer of the
ten were bought than with 100; with 50 it is 0.7 % fewer, for 60 % of what has to be written. Without a bound one order,
which may have 5,000 products, would touch as many rows of as many counts.
"""
MOST_RECOMMENDED = 1_000
"""The most products in one answer."""


def _small(published: PublishedEvent) -> Counted | None:
    found = basket(published)
    return found if found is not None and len(by_product(found.sale)) <= MOST_PRODUCTS else None


def _sku_and_month(published: PublishedEvent) -> Iterable[str]:
    found = _small(published)
    return (f"{sku}{SEPARATOR}{month(found.sale)}" for sku in by_product(found.sale)) if found else ()


def _add(row: Row | None, key: str, published: PublishedEvent) -> Row | None:
    found = _small(published)
    assert found is not None
    sku, _, of_month = key.rpartition(SEPARATOR)
    sales = dict(row["sales"]) if row else {}
    for product in by_product(found.sale):  # one of them is `sku`: its own count is that of all these sales
        sales[product] = sales.get(product, 0) + found.times
        if not sales[product]:
            del sales[product]
    return {"sku": sku, "month": of_month, "sales": sales} if sales else None


bought_together = Projection("bought-together", 1, "order", _add, _sku_and_month, local=True)


@dataclass(frozen=True)
class Recommendation:
    """The products that are bought most often with one, in some months or of all time."""

    sku: str
    n: int = 10
    window: Window = EVER

    @property
    def table(self) -> str:
        return bought_together.name

    @property
    def keys(self) -> Keys:
        return self.window.months(self.sku + SEPARATOR)

    def here(self, rows: Iterable[Row]) -> dict[str, int]:
        """Of the sales with the product, the number of those with each product, itself too."""
        counts: Counter[str] = Counter()
        for row in rows:
            if row["sku"] == self.sku and self.window.holds(row["month"]):
                counts.update(row["sales"])
        return dict(counts)

    def answer(self, parts: Iterable[Mapping[str, int]]) -> Row:
        """`baskets` is the number of sales with the product, `count` the number of those with the other one too,
        `share` their ratio (the confidence of the rule). Equal counts are in the order of the stock codes."""
        counts: Counter[str] = Counter()
        for part in parts:
            counts.update(part)
        baskets = counts.pop(self.sku, 0)
        best = sorted(counts, key=lambda sku: (-counts[sku], sku))[: self.n]
        products = [{"sku": sku, "count": counts[sku], "share": ratio(counts[sku], baskets, 4)} for sku in best]
        return {"sku": self.sku, "baskets": baskets, "products": products}
