"""A user's orders: their rows, and pages of them over several partitions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from aggregates.shop.order import (
    LineAdded,
    LineRemoved,
    OrderCancelled,
    OrderConfirmed,
    OrderOpened,
    OrderPlaced,
    OrderShipped,
    order,
)
from projections.shop.tables.orders import orders
from projections.shop.tables.users_orders import PIECES, columns, orders_of, orders_page, users_orders
from tests.specification import accepted
from tests.unit.shop.test_order import histories
from tests.unit.shop.test_projections import DAY, LINES, TOTAL, fold
from tests.unit.sql_machines import Partitions

TABLE = "users-orders-1"
OPENED = OrderOpened("17850", "sale", "France", DAY)


def test_an_open_order() -> None:
    """The row of an open order has its user, its time, the number of its lines, equal ones merged, and its total."""
    added = [LineAdded("A", "HOLDER", 6, Decimal("2.55")), LineAdded("A@1", "BOX", 1, Decimal("0.001"))]
    row = fold(users_orders, OPENED, *added, added[0], LineAdded("A", "HOLDER", 1, Decimal("1")))["1"]
    assert ("1", "17850", "sale", "2011-05-17T09:30:00Z", "open") == tuple(
        row[name] for name in ("id", "user_id", "kind", "opened_at", "status")
    )
    assert (3, "31.601") == (row["lines"], row["total"])
    row = fold(users_orders, OPENED, *added, LineRemoved("A"))["1"]
    assert (1, "0.001") == (row["lines"], row["total"])


def test_a_placed_order() -> None:
    """Once placed it is a small row, which follows the order's status."""
    placed = OrderPlaced("17850", "sale", "France", DAY, LINES, TOTAL)
    row = fold(users_orders, OPENED, *(LineAdded("A", "HOLDER", 6, Decimal(1)) for _ in LINES), placed)["1"]
    assert ("placed", 2, "16.30", False) == (row["status"], row["lines"], row["total"], PIECES in row)
    row = fold(users_orders, OPENED, placed, OrderConfirmed(), OrderShipped())["1"]
    assert ("shipped", 2) == (row["status"], row["lines"])
    row = fold(users_orders, OPENED, placed, OrderCancelled("late"))["1"]
    assert ("cancelled", "late", 2, "16.30") == (row["status"], row["reason"], row["lines"], row["total"])


@drawn(histories)
def test_as_the_order_is(sequence: list[object]) -> None:
    """Whatever an order goes through, its row is that of the order with its lines counted."""
    events = [event for _, happened, _ in accepted(order, sequence) for event in happened]
    whole = fold(orders, *events)["1"]
    row = fold(users_orders, *events)["1"]
    assert {**whole, "lines": len(whole["lines"])} == {name: value for name, value in row.items() if name != PIECES}
    assert row == msgspec.json.decode(msgspec.json.encode(row))


@pytest.fixture
def partitions(tmp_path: Path) -> Iterator[Partitions]:
    made = Partitions(tmp_path, TABLE, columns)
    yield made
    made.close()


def opened(id: str, user_id: str = "u", milliseconds: int = 0) -> dict[str, Any]:
    """The row of an order."""
    event = OrderOpened(user_id, "sale", None, datetime(2011, 5, 17, tzinfo=UTC) + timedelta(milliseconds=milliseconds))
    return fold(users_orders, event, id=id)[id]


def pages(partitions: Partitions, limit: int, user_id: str = "u") -> Iterator[list[str]]:
    """The ids of the orders of a user, page by page."""
    after: str | None = ""
    while after is not None:
        page = orders_page(user_id, partitions.ask(orders_of, user_id, limit, after), limit)
        assert user_id == page["user_id"]
        yield [order["id"] for order in page["orders"]]
        after = page["next"]


def test_oldest_first(partitions: Partitions) -> None:
    """A user's orders come oldest first, to the millisecond, then by id; nobody else's, and without inner fields."""
    times = {"d": 0, "a": 0, "c": 1, "b": 999, "e": 1_000, "f": 1_001}
    partitions.put({id: opened(id, "u", time) for id, time in times.items()} | {"x": opened("x", "other")})
    assert [["a", "d", "c", "b", "e", "f"]] == list(pages(partitions, 6))
    assert [["a", "d", "c", "b"], ["e", "f"]] == list(pages(partitions, 4))
    (found,) = orders_page("other", partitions.ask(orders_of, "other", 1, ""), 1)["orders"]
    assert {**opened("x", "other"), "position": "type-0:1:0"} == {**found, PIECES: {}}
    assert [[]] == list(pages(partitions, 5, "nobody"))


@pytest.mark.parametrize("after", ["|", "a|b|c", "\0", "\ud800", "9999", "2011-05-17T00:00:00|", "é"])
def test_any_cursor_has_an_answer(partitions: Partitions, after: str) -> None:
    """A cursor that nobody was given is a place too."""
    partitions.put({"a": opened("a")})
    page = orders_page("u", partitions.ask(orders_of, "u", 5, after), 5)
    assert ({"user_id", "orders", "next"}, None) == (set(page), page["next"])
    assert [] == orders_page("\ud800", partitions.ask(orders_of, "\ud800", 5, after), 5)["orders"]


@settings(max_examples=40, deadline=None)
@drawn(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 3), min_size=1),
    st.lists(st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(0, 3), max_size=3), max_size=12),
    st.integers(1, 4),
)
def test_pages_are_stable(first: dict[str, int], later: list[dict[str, int]], limit: int) -> None:
    """While orders come and change, one that was there is shown once, in order, and none is shown twice."""
    with tempfile.TemporaryDirectory() as folder:
        partitions = Partitions(Path(folder), TABLE, columns)
        times = dict(first)
        partitions.put({id: opened(id, "u", time) for id, time in first.items()})
        shown: list[str] = []
        for page in pages(partitions, limit):
            shown += page
            if later:
                for id, time in later.pop().items():
                    row = opened(id, "u", times.setdefault(id, time))
                    partitions.put({id: {**row, "status": "shipped", "total": "9"}})
        assert sorted(set(shown), key=lambda id: (times[id], id)) == shown
        assert set(first) <= set(shown)
        partitions.close()
