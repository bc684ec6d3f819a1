"""One row per product: name, price and stock."""

from __future__ import annotations

from aggregates.shop.product import (
    PriceChanged,
    ProductDefined,
    Restocked,
    StockRefused,
    StockReleased,
    StockReserved,
    StockShipped,
)
from projections.projection import Projection, PublishedEvent, Row
from projections.shop.money import amount


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
    stock = {"available": 0, "reserved": 0, "shipped": 0}
    row = row or {"sku": key, "name": None, "price": None, "categories": [], **stock}
    match published.event:
        case ProductDefined(name, price, categories):
            return {**row, "name": name, "price": amount(price), "categories": list(categories)}
        case PriceChanged(price):
            return {**row, "price": amount(price)}
        case Restocked(quantity):
            return {**row, "available": row["available"] + quantity}
        case StockReserved(_, quantity):
            return {**row, "available": row["available"] - quantity, "reserved": row["reserved"] + quantity}
        case StockReleased(_, quantity):
            return {**row, "available": row["available"] + quantity, "reserved": row["reserved"] - quantity}
        case StockShipped(_, quantity):
            return {**row, "reserved": row["reserved"] - quantity, "shipped": row["shipped"] + quantity}
        case StockRefused():
            return row
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


products = Projection("products", 2, "product", evolve)
