"""One row per order: header, status, lines and total as the order stands now."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from aggregates.shop.order import (
    Line,
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
from projections.projection import Projection, PublishedEvent, Row
from projections.shop.money import amount


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
    match published.event:
        case OrderOpened(user_id, kind, country, opened_at):
            header = {"id": key, "user_id": user_id, "kind": kind, "country": country}
            return {**header, "opened_at": iso(opened_at), "status": "open", "lines": [], "total": amount(Decimal(0))}
        case LineAdded() as line:
            assert row is not None
            total = Decimal(row["total"]) + line.quantity * line.unit_price
            return {**row, "lines": _merged(row["lines"], line), "total": amount(total)}
        case LineRemoved(sku):
            assert row is not None
            return _with_lines(row, [line for line in row["lines"] if line["sku"] != sku])
        case OrderPlaced():
            return {**(row or {}), "status": "placed", "placed_at": published.time}
        case OrderConfirmed():
            return {**(row or {}), "status": "confirmed"}
        case OrderRejected(reason):
            return {**(row or {}), "status": "rejected", "reason": reason}
        case OrderCancelled(reason):
            return {**(row or {}), "status": "cancelled", "reason": reason}
        case OrderShipped():
            return {**(row or {}), "status": "shipped"}
        case SaleWithdrawn():
            return row or {}
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


def _merged(lines: list[Row], added: Line) -> list[Row]:
    """Lines of one stock code at one price are one line."""
    price = amount(added.unit_price)
    for index, line in enumerate(lines):
        if line["sku"] == added.sku and line["unit_price"] == price:
            more = {**line, "quantity": line["quantity"] + added.quantity}
            return [*lines[:index], more, *lines[index + 1 :]]
    line = {"sku": added.sku, "description": added.description, "quantity": added.quantity, "unit_price": price}
    return [*lines, line]


def _with_lines(row: Row, lines: list[Row]) -> Row:
    total = sum((line["quantity"] * Decimal(line["unit_price"]) for line in lines), Decimal(0))
    return {**row, "lines": lines, "total": amount(total)}


def in_list(row: Row) -> Row:
    """What lists have of an order: instead of its lines their number."""
    return {**row, "lines": len(row["lines"])}


def iso(moment: datetime) -> str:
    """A time in UTC, as rows have it."""
    return moment.isoformat().replace("+00:00", "Z")


orders = Projection("orders", 1, "order", evolve)
