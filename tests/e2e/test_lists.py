"""Lists of orders with two workers: whole, in pages, the same at both, and stable while orders change."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.e2e.client import PARTITIONS, partition_of
from tests.e2e.orders import LINE, OPEN, do, place, shown
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

STATUSES = {"open", "placed", "confirmed", "rejected", "cancelled", "shipped"}


@dataclass(frozen=True)
class Shop:
    """Both workers, and the orders that stay as they are."""

    one: Worker
    two: Worker
    open: list[str]
    placed: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """An order worker, two projection workers, and orders in every partition."""
    orders, one, two = system.start(ORDERS), system.start(PROJECTIONS), system.start(PROJECTIONS)
    await system.all_served(orders)
    await system.all_served(one, two)
    opened, placed = [f"o{number:02}" for number in range(20)], [f"p{number:02}" for number in range(30)]
    assert set(range(PARTITIONS)) == set(map(partition_of, opened)) == set(map(partition_of, placed))
    replies = await do(system, opened, "OpenOrder", OPEN)
    replies += await place(system, placed)
    await shown(system, one, replies)
    return Shop(one, two, opened, placed)


async def pages(system: System, worker: Worker, query: str, limit: int) -> list[Any]:
    """All rows of a list, a page after the other; no page but the last has less than its limit."""
    found: list[Any] = []
    after = ""
    while True:
        status, body, _ = await system.get(worker, f"/orders?limit={limit}{query}{after}")
        assert 200 == status, body
        found += body["orders"]
        if body["next"] is None:
            return found
        assert limit == len(body["orders"])
        after = f"&after={quote(body['next'])}"


async def test_lists_are_whole_and_in_order(system: System, shop: Shop) -> None:
    """All orders, and those of a status, by their ids, at both workers the same, whatever the size of the page."""
    for worker in (shop.one, shop.two):
        for limit in (1, 7, 1000):
            every = [row["id"] for row in await pages(system, worker, "", limit)]
            assert sorted(shop.open + shop.placed) == every
            assert shop.placed == [row["id"] for row in await pages(system, worker, "&status=placed", limit)]
        assert [] == await pages(system, worker, "&status=shipped", 50)
    one, two = await asyncio.gather(*(system.get(it, "/orders?status=placed") for it in (shop.one, shop.two)))
    assert one[1] == two[1]


async def test_rows_in_lists_are_short(system: System, shop: Shop) -> None:
    """A list has of an order what its row has, with the number of its lines instead of them."""
    _, row, _ = await system.get(shop.one, f"/orders/{shop.placed[0]}")
    _, body, _ = await system.get(shop.two, "/orders?status=placed&limit=1")
    assert [row | {"lines": 1}] == body["orders"]


async def test_fifty_by_default(system: System, shop: Shop) -> None:
    """A page has 50 rows unless it is told; there are just so many, so there is no next one."""
    _, body, _ = await system.get(shop.one, "/orders")
    assert (50, None) == (len(body["orders"]), body["next"])


@pytest.mark.parametrize("query", ["status=paid", "status=", "limit=0", "limit=1001", "limit=x", "limit=-1"])
async def test_bad_questions(system: System, shop: Shop, query: str) -> None:
    """400 that says what would do: of a status all that there are."""
    status, body, headers = await system.get(shop.one, f"/orders?{query}")
    assert (400, 400) == (status, body["status"])
    assert headers["Content-Type"].startswith("application/problem+json")
    if query.startswith("status"):
        assert all(status in body["detail"] for status in STATUSES)


async def test_orders_by_status(system: System, shop: Shop) -> None:
    """Orders are counted over all workers, and a status that no order has is 0."""
    for worker in (shop.one, shop.two):
        _, body, _ = await system.get(worker, "/analytics/orders-by-status")
        assert {"orders": 50, "statuses": dict.fromkeys(STATUSES, 0) | {"open": 20, "placed": 30}} == body


async def test_list_shows_a_write_at_once(system: System, shop: Shop) -> None:
    """With `At-Least` a list and the counts have what a reply said, at every worker."""
    for number in range(6):
        key = f"w{number}"
        replies = await do(system, [key], "OpenOrder", OPEN)
        for worker in (shop.one, shop.two):
            at_least = replies[0]["position"]
            _, body, _ = await system.get(worker, "/orders?status=open&limit=1000", At_Least=at_least)
            assert key in [row["id"] for row in body["orders"]]
            _, body, _ = await system.get(worker, "/analytics/orders-by-status", At_Least=at_least)
            assert 21 + number == body["statuses"]["open"]


async def test_pages_are_stable_under_writes(system: System, shop: Shop) -> None:
    """While orders come, change and leave, each page goes on behind the one before: an order that stays in the list is
    seen exactly once, and nothing twice."""
    done = False

    async def write() -> None:
        number = 0
        while not done:
            keys = [f"{letter}{number:04}" for letter in "anpz"]
            replies = await place(system, keys)
            replies += await do(system, keys[::2], "ConfirmOrder", {})
            replies += await do(system, shop.open[:3], "AddLine", LINE)
            number += 1

    writer = asyncio.create_task(write())
    try:
        for round in range(6):
            worker = (shop.one, shop.two)[round % 2]
            seen = Counter(row["id"] for row in await pages(system, worker, "&status=placed", 4))
            assert set(shop.placed) <= seen.keys()
            assert {1} == set(seen.values())
            seen = Counter(row["id"] for row in await pages(system, worker, "", 6))
            assert {*shop.placed, *shop.open} <= seen.keys()
            assert {1} == set(seen.values())
    finally:
        done = True
        await writer
