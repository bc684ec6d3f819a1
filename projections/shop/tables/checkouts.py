"""One row per checkout: how far the order of this id is, and why it ended.

Lines are counted, not listed: an order of thousands would write them all again with each that is reserved.
"""

from __future__ import annotations

from aggregates.shop.checkout import (
    AllReserved,
    CheckoutCancelled,
    CheckoutRejected,
    CheckoutShipped,
    CheckoutStarted,
    LateReservation,
    LineReserved,
)
from projections.projection import Projection, PublishedEvent, Row
from streams.moments import in_utc


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
    row = row or {}
    match published.event:
        case CheckoutStarted(lines, deadline):
            count = {"lines": len(lines), "waiting": len(lines)}
            return {"id": key, "status": "reserving", **count, "reason": None, "deadline": in_utc(deadline)}
        case LineReserved():
            return {**row, "waiting": row["waiting"] - 1}
        case AllReserved():
            return {**row, "status": "reserved"}
        case CheckoutRejected(reason):
            return {**row, "status": "rejected", "reason": reason}
        case CheckoutCancelled(reason):
            return {**row, "status": "cancelled", "reason": reason}
        case CheckoutShipped():
            return {**row, "status": "shipped"}
        case LateReservation():
            return row
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


checkouts = Projection("checkouts", 1, "checkout", evolve)
