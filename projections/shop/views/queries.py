"""The shop's queries over HTTP."""

from __future__ import annotations

from typing import Any

from projections.app import ReadSide
from projections.http.forwarding import Tables
from projections.http.parameters import read_query
from projections.shop.tables.catalogue import products_page, search
from projections.shop.tables.order_status import STATUSES
from projections.shop.tables.orders import in_list
from projections.shop.tables.users_orders import orders_of, orders_page
from projections.shop.views import answers
from projections.shop.views.parameters import Search, UsersOrders
from projections.views.by_key import add_by_key
from projections.views.listing import ListOfRows
from projections.views.lists import add_list
from streams.access.principal import Role
from streams.concurrency.fairness import yield_if_due
from streams.web.operation import describe


def add_views(side: ReadSide) -> None:
    """Serve the rows by key, the list of orders, the orders of a user, and the catalogue."""
    add_by_key(side, "order", "orders", answers.Order)
    add_by_key(side, "product", "products", answers.Product)
    add_by_key(side, "user", "users", answers.User)
    add_by_key(side, "checkout", "checkouts", answers.Checkout)
    add_list(side, ListOfRows("order", "orders", "status", STATUSES, in_list, answers.Orders))
    _add_users_orders(side)
    _add_catalogue(side)


def _add_users_orders(side: ReadSide) -> None:
    local = side.sql["order"]

    @side.app.page("/users/{id}/orders", name="users-orders")
    @describe(
        "users",
        "The orders of a user, oldest first, page by page",
        answers.OrdersOfUser,
        query=UsersOrders,
        reads=True,
        role=Role.READER,
        of=("order",),
    )
    async def users_orders(view: Any, request: Any, id: str) -> Any:
        asked = read_query(request.query, UsersOrders)

        async def here(partitions: list[int], tables: Tables) -> list[Any]:
            rows: list[Any] = []
            for partition in partitions:
                await yield_if_due()
                rows += orders_of(local.store, partition, tables["users-orders"], id, asked.limit, asked.after)
            return rows

        return await side.doors.gather(
            view, request, ["users-orders"], here, lambda answers: orders_page(id, answers, asked.limit)
        )


def _add_catalogue(side: ReadSide) -> None:
    local = side.sql["product"]

    @side.app.page("/products", name="catalogue")
    @describe(
        "products",
        "The catalogue: products by words, page by page",
        answers.Catalogue,
        query=Search,
        reads=True,
        role=Role.READER,
        of=("product",),
    )
    async def products(view: Any, request: Any) -> Any:
        asked = read_query(request.query, Search)

        async def here(partitions: list[int], tables: Tables) -> list[Any]:
            rows: list[Any] = []
            for partition in partitions:
                await yield_if_due()
                rows += search(local.store, partition, tables["catalogue"], asked.search, asked.limit, asked.after)
            return rows

        return await side.doors.gather(
            view, request, ["catalogue"], here, lambda answers: products_page(answers, asked.limit)
        )
