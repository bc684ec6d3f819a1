"""A customer with what he has ordered: the rows of two aggregate types, joined by the id of the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypedDict

from projections.app import ReadSide
from projections.projection import Row
from projections.shop.money import amount
from projections.shop.tables.users import users
from projections.shop.tables.users_orders import columns, users_orders
from projections.shop.views.answers import Money, Status
from projections.stores.declaration import Table
from projections.views.join import Join, Side
from projections.views.joined_rows import add_join


class Customer(TypedDict):
    """Who a user is, null where nobody has registered him; the number of his orders by status, and the sum of those
    that are placed, confirmed or shipped."""

    id: str
    user: dict[str, Any] | None
    orders: dict[Status, int]
    total: Money


COUNTED = frozenset({"placed", "confirmed", "shipped"})


def _customer(key: str, user: Sequence[Row], orders: Sequence[Row]) -> Row:
    total = sum((Decimal(order["total"]) for order in orders if order["status"] in COUNTED), Decimal(0))
    by_status = Counter(str(order["status"]) for order in orders)
    return {
        "id": key,
        "user": user[0] if user else None,
        "orders": dict(sorted(by_status.items())),
        "total": amount(total),
    }


customers = Join("customers", Side(Table(users)), Side(Table(users_orders, columns), by="user_id"), _customer)


def add_customers(side: ReadSide) -> None:
    """Serve `/customers/{id}`."""
    add_join(side, customers, Customer)
