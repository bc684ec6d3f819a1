"""The shop's queries over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from projections.doors import Tables
from projections.projection_app import ReadSide
from projections.queries import row
from streams.health import problem


def add_views(side: ReadSide) -> None:
    """All of them."""
    add_by_key(side, "order", "orders")
    add_by_key(side, "product", "products")
    add_by_key(side, "user", "users")
    _add_users_orders(side)


def add_by_key(side: ReadSide, type: str, projection: str) -> None:
    """Serve `/<type>s/{id}`: the row of an aggregate."""
    store = side.local[type].store

    @side.app.page(f"/{type}s/{{id}}", name=f"{type}-by-id")
    async def by_key(view: Any, request: Any, id: str) -> Any:
        async def answer(partition: int, table: str) -> Any:
            value = row(store, partition, table, id)
            if value is None:
                return problem(view, 404, "Not found", f"there is no {type} {id}")
            etag = f'"{msgspec.json.decode(value)["position"]}"'
            if request.headers.get("If-None-Match") == etag:
                return view.bytes(b"", status=304, headers={"ETag": etag})
            return view.bytes(value, content_type="application/json", headers={"ETag": etag})

        return await side.doors.at_owner(view, request, projection, id, answer)


def _add_users_orders(side: ReadSide) -> None:
    store = side.local["order"].store

    @side.app.page("/users/{id}/orders", name="users-orders")
    async def users_orders(view: Any, request: Any, id: str) -> Any:
        def here(partitions: list[int], tables: Tables) -> list[Any]:
            found = []
            for partition in partitions:
                ids = row(store, partition, tables["orders-by-user"], id)
                for order_id in msgspec.json.decode(ids)["orders"] if ids else ():
                    value = row(store, partition, tables["orders"], order_id)
                    if value is not None:
                        order = msgspec.json.decode(value)
                        order["lines"] = len(order["lines"])
                        found.append(order)
            return found

        def put(answers: list[Any]) -> Any:
            orders = sorted((order for answer in answers for order in answer), key=lambda o: (o["opened_at"], o["id"]))
            return {"user_id": id, "orders": orders}

        return await side.doors.gather(view, request, ["orders-by-user", "orders"], here, put)
