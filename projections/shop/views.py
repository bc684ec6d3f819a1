"""The shop's queries over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from projections.hops import Tables
from projections.listing import Listing
from projections.lists import add_list
from projections.live_rows import stream_row
from projections.pages import MOST_ROWS, read_page
from projections.projection_app import ReadSide
from projections.queries import row
from projections.shop import answers
from projections.shop.catalogue import products_page, search
from projections.shop.order_status import STATUSES
from projections.shop.orders import in_list
from projections.shop.parameters import Search, UsersOrders
from projections.shop.users_orders import orders_of, orders_page
from projections.sse import wants_events
from streams.described import describe
from streams.health import problem


def add_views(side: ReadSide) -> None:
    """All of them."""
    add_by_key(side, "order", "orders", answers.Order)
    add_by_key(side, "product", "products", answers.Product)
    add_by_key(side, "user", "users", answers.User)
    add_list(side, Listing("order", "orders", "status", STATUSES, in_list, answers.Orders))
    _add_users_orders(side)
    _add_catalogue(side)


def add_by_key(side: ReadSide, type: str, projection: str, row_type: Any) -> None:
    """Serve `/<type>s/{id}`: the row of an aggregate, and its changes to those who ask for a stream of events."""
    local = side.local[type]

    @side.app.page(f"/{type}s/{{id}}", name=f"{type}-by-id")
    @describe(
        f"{type}s",
        f"One {type} as it stands now, and its changes as they come",
        row_type,
        reads=True,
        etag=True,
        problems=(404,),
        stream="`row`: the row now, and after each change; `gone`: it was removed",
    )
    async def by_key(view: Any, request: Any, id: str) -> Any:
        if wants_events(request):
            return await stream_row(side, view, request, type, projection, id)

        async def answer(partition: int, table: str) -> Any:
            value = row(local.store, partition, table, id)
            if value is None:
                return problem(view, 404, "Not found", f"there is no {type} {id}")
            etag = f'"{msgspec.json.decode(value)["position"]}"'
            if request.headers.get("If-None-Match") == etag:
                return view.bytes(b"", status=304, headers={"ETag": etag})
            return view.bytes(value, content_type="application/json", headers={"ETag": etag})

        return await side.doors.at_owner(view, request, projection, id, answer)


def _add_users_orders(side: ReadSide) -> None:
    local = side.sql["order"]

    @side.app.page("/users/{id}/orders", name="users-orders")
    @describe(
        "users", "The orders of a user, oldest first, page by page", answers.OrdersOfUser, query=UsersOrders, reads=True
    )
    async def users_orders(view: Any, request: Any, id: str) -> Any:
        try:
            limit, after = read_page(request.query, MOST_ROWS)
        except ValueError as error:
            return problem(view, 400, "Bad request", str(error))

        def here(partitions: list[int], tables: Tables) -> list[Any]:
            return [
                row for p in partitions for row in orders_of(local.store, p, tables["users-orders"], id, limit, after)
            ]

        return await side.doors.gather(
            view, request, ["users-orders"], here, lambda answers: orders_page(id, answers, limit)
        )


def _add_catalogue(side: ReadSide) -> None:
    local = side.sql["product"]

    @side.app.page("/products", name="catalogue")
    @describe("products", "The catalogue: products by words, page by page", answers.Catalogue, query=Search, reads=True)
    async def products(view: Any, request: Any) -> Any:
        try:
            limit, after = read_page(request.query)
        except ValueError as error:
            return problem(view, 400, "Bad request", str(error))
        words = request.query.get("search", "")

        def here(partitions: list[int], tables: Tables) -> list[Any]:
            return [row for p in partitions for row in search(local.store, p, tables["catalogue"], words, limit, after)]

        return await side.doors.gather(
            view, request, ["catalogue"], here, lambda answers: products_page(answers, limit)
        )
