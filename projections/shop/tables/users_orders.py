"""The orders of a user, a small row for each: found by user, oldest first, without reading the orders' lines."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from aggregates.shop.order import (
    LineAdded,
    LineRemoved,
    OrderCancelled,
    OrderConfirmed,
    OrderOpened,
    OrderPlaced,
    OrderRejected,
    OrderShipped,
    SaleWithdrawn,
)
from projections.http.pages import page
from projections.projection import Projection, PublishedEvent, Row
from projections.shop.money import amount
from projections.stores.local.sqlite import SqliteStore
from projections.stores.sql_columns import SqlColumns, storable

PIECES = "pieces"
"""By stock code and price, while lines may still come and go: no reader sees it."""


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
    row = row or {}
    match published.event:
        case OrderOpened(user_id, kind, country, opened_at):
            time = opened_at.isoformat().replace("+00:00", "Z")
            header = {"id": key, "user_id": user_id, "kind": kind, "country": country, "opened_at": time}
            return _with_pieces({**header, "status": "open"}, {}, Decimal(0))
        case LineAdded(sku, _, quantity, unit_price):
            line = f"{sku}@{unit_price:.4f}"
            pieces = {**row[PIECES], line: row[PIECES].get(line, 0) + quantity}
            return _with_pieces(row, pieces, Decimal(row["total"]) + quantity * unit_price)
        case LineRemoved(sku):
            kept = {line: pieces for line, pieces in row[PIECES].items() if line.rpartition("@")[0] != sku}
            return _with_pieces(row, kept, _total(kept))
        case OrderPlaced(lines=lines, total=total):
            placed = {"status": "placed", "placed_at": published.time, "lines": len(lines), "total": amount(total)}
            return {**_shown(row), **placed}
        case OrderConfirmed():
            return {**row, "status": "confirmed"}
        case OrderRejected(reason):
            return {**row, "status": "rejected", "reason": reason}
        case OrderCancelled(reason):
            return {**_shown(row), "status": "cancelled", "reason": reason}
        case OrderShipped():
            return {**row, "status": "shipped"}
        case SaleWithdrawn():
            return row
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


def _with_pieces(row: Row, pieces: dict[str, int], total: Decimal) -> Row:
    return {**row, "lines": len(pieces), "total": amount(total), PIECES: pieces}


def _total(pieces: dict[str, int]) -> Decimal:
    return sum((count * Decimal(line.rpartition("@")[2]) for line, count in pieces.items()), Decimal(0))


def _shown(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != PIECES}


users_orders = Projection("users-orders", 1, "order", evolve)

columns = SqlColumns(
    {
        "user_id": "json_extract(row, '$.user_id')",
        # without its Z a time is before those of the same second that have a fraction
        "opened_at": "rtrim(json_extract(row, '$.opened_at'), 'Z')",
    },
    indexes=[("user_id", "opened_at", "key")],
)


def orders_of(store: SqliteStore, partition: int, table: str, user_id: str, limit: int, after: str = "") -> list[Row]:
    """A partition's part of a page: the user's orders behind the cursor, one more than `limit`."""
    opened_at, _, id = storable(after).partition("|")
    found = store.rows(
        partition,
        table,
        "WHERE user_id = ? AND (opened_at, key) > (?, ?) ORDER BY opened_at, key LIMIT ?",
        (storable(user_id), opened_at, id, limit + 1),
    )
    return [_shown(msgspec.json.decode(row)) for row in found]


def orders_page(user_id: str, answers: Iterable[list[Row]], limit: int) -> dict[str, Any]:
    """A page of a user's orders from the partitions' parts; `next` is the cursor to go on from, None at the end."""
    orders, more = page(answers, limit, _order)
    return {"user_id": user_id, "orders": orders, "next": "|".join(_order(orders[-1])) if more else None}


def _order(row: Row) -> tuple[str, str]:
    return row["opened_at"].rstrip("Z"), row["id"]
