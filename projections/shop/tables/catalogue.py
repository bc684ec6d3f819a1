"""The catalogue: products that are defined, found by the words of their stock code, name and categories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from aggregates.shop.product import (
    PriceChanged,
    ProductDefined,
    Restocked,
    StockRefused,
    StockReleased,
    StockReserved,
    StockShipped,
)
from projections.http.pages import page
from projections.projection import Projection, PublishedEvent, Row
from projections.shop.money import amount
from projections.stores.local.sqlite import SqliteStore
from projections.stores.sql_columns import SqlColumns, storable, words_of


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row | None:
    match published.event:
        case ProductDefined(name, price, categories):
            header = {"sku": key, "name": name, "price": amount(price), "categories": list(categories)}
            return {**header, "available": row["available"] if row else 0}
        case StockRefused() | StockShipped():
            return row  # what is not defined is refused too, and is not in the catalogue
        case PriceChanged(price):
            return {**(row or {}), "price": amount(price)}
        case Restocked(quantity) | StockReleased(_, quantity):
            return _with_more(row, quantity)
        case StockReserved(_, quantity):
            return _with_more(row, -quantity)
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


def _with_more(row: Row | None, quantity: int) -> Row:
    assert row is not None
    return {**row, "available": row["available"] + quantity}


catalogue = Projection("catalogue", 1, "product", evolve)

columns = SqlColumns(
    {"name": "json_extract(row, '$.name')", "categories": "json_extract(row, '$.categories')"},
    search=("key", "name", "categories"),
)


def search(store: SqliteStore, partition: int, table: str, words: str, limit: int, after: str = "") -> list[Row]:
    """A partition's part of a page: products behind the cursor with all these words, or words that begin with them,
    one more than `limit`. Without a word, all products.

    By stock code, which stays: a rank would change with every product that comes, and pages with it.
    """
    wanted = words_of(words)
    found = "id IN (SELECT rowid FROM {search}(?)) AND " if wanted else ""
    parameters = ((wanted,) if wanted else ()) + (storable(after), limit + 1)
    rows = store.rows(partition, table, f"WHERE {found}key > ? ORDER BY key LIMIT ?", parameters)
    return [msgspec.json.decode(row) for row in rows]


def products_page(answers: Iterable[list[Row]], limit: int) -> dict[str, Any]:
    """A page of products from the partitions' parts; `next` is the cursor to go on from, None at the end."""
    products, more = page(answers, limit, lambda row: row["sku"])
    return {"products": products, "next": products[-1]["sku"] if more else None}
