"""The read side of the shop, whose table of orders cannot take an order from Atlantis."""

from dataclasses import replace

from aggregates.shop.order import OrderOpened
from projections.projection import PublishedEvent, Row
from projections.shop import wiring
from projections.shop.tables.orders import orders

TAXES = {"United Kingdom": 20, "France": 20}
ATLANTIS = "Atlantis"


def evolve_with_bug(row: Row | None, key: str, published: PublishedEvent) -> Row | None:
    if isinstance(published.event, OrderOpened) and published.event.country == ATLANTIS:
        _ = TAXES[ATLANTIS]
    folded: Row | None = orders.evolve(row, key, published)
    return folded


wiring.TABLES[:] = [
    replace(table, projection=replace(orders, evolve=evolve_with_bug)) if table.projection is orders else table
    for table in wiring.TABLES
]

from projections.shop.app import app as app  # noqa: E402  (it is made of these tables)
