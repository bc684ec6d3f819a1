"""The archive: one row for each order that was ever placed, listed by user, newest first.

It grows for ever, and the orders of a user are spread over all partitions. So it is kept in the read model that all
workers share, where one request finds them.
"""

from __future__ import annotations

from aggregates.shop.order import OrderCancelled, OrderConfirmed, OrderPlaced, OrderRejected, OrderShipped
from projections.projection import Projection, PublishedEvent, Row
from projections.shop.money import amount
from projections.shop.tables.orders import iso
from projections.stores.listings import SortedIndex, Spot


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row | None:
    match published.event:
        case OrderPlaced() as sale:
            return {
                "id": key,
                "user_id": sale.user_id,
                "kind": sale.kind,
                "country": sale.country,
                "opened_at": iso(sale.opened_at),
                "day": f"{sale.opened_at:%Y-%m-%d}",
                "total": amount(sale.total),
                "lines": len(sale.lines),
                "status": "placed",
                "placed_at": published.time,
            }
        case OrderConfirmed():
            return _now(row, "confirmed")
        case OrderRejected():
            return _now(row, "rejected")
        case OrderCancelled():
            return _now(row, "cancelled")
        case OrderShipped():
            return _now(row, "shipped")
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


def _now(row: Row | None, status: str) -> Row | None:
    """The row with another status; None for an order that was never placed, which has no row."""
    return None if row is None else {**row, "status": status}


def _placed(published: PublishedEvent) -> tuple[str, ...]:
    """The order, from its placing on. While it is open each line changes it, and the database need not hear of that."""
    telling = (OrderPlaced, OrderConfirmed, OrderRejected, OrderCancelled, OrderShipped)
    return (published.aggregate_id,) if isinstance(published.event, telling) else ()


order_archive = Projection("order-archive", 1, "order", evolve, _placed, local=True)


def of_user(user_id: str, year: int) -> str:
    """The group of a user's orders of a year; all of them together could be too many."""
    return f"{year:04}/{user_id}"


def _spot(row: Row) -> Spot:
    return of_user(row["user_id"], int(row["day"][:4])), row["day"]


by_user = SortedIndex("by-user", _spot, lasting=True)
"""By the day on which they were opened. An order that was placed stays in the archive, whatever becomes of it."""
