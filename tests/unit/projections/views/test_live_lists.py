"""The changes of a list, from a local store: what is sent, and what the id of it promises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from projections.http.at_least import BadPositionHeader
from projections.projection import Projection
from projections.stores.declaration import Indexes, Table
from projections.streaming.list_cursor import ListCursor
from projections.streaming.sse import Frame, read_frames
from projections.views.listing import ListOfRows
from projections.views.live_lists import AT_ONCE, _Following
from tests.e2e.client import eventually
from tests.unit.rows_of_orders import TABLE, Orders

ORDERS = Table(
    Projection("orders", 1, "order", lambda row, key, event: row),
    Indexes({"status": lambda row: row["status"]}, changes=True),
)
LISTING = ListOfRows("order", "orders", "status", ("open", "placed"), lambda row: {"id": row["id"]})
BEGIN = "orders-1,order-0:0:0,order-1:0:0"


class Client:
    """A stream of events that a client takes at once, or when it is let."""

    def __init__(self) -> None:
        self.table = TABLE
        self.turn = asyncio.Lock()
        self.frames: list[Frame] = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def open(self) -> None:
        await asyncio.sleep(0)

    async def send(self, data: bytes) -> None:
        self.frames += read_frames(data)
        await self.takes.wait()

    @property
    def heard(self) -> list[tuple[str, str]]:
        return [(frame.event, json.loads(frame.data).get("id", "")) for frame in self.frames]

    async def hears(self, *expected: tuple[str, str]) -> None:
        await eventually(lambda: len(self.heard) >= len(expected), 5, lambda: f"{self.heard}")
        assert list(expected) == self.heard


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path)


@asynccontextmanager
async def following(orders: Orders, last_id: str = "", value: str | None = "placed") -> AsyncIterator[Client]:
    """Someone who follows the placed orders of both partitions."""
    client: Any = Client()
    side: Any = SimpleNamespace(local={"order": orders.rows}, indexes_of={"orders": ORDERS.how}.__getitem__)
    seen = ListCursor.parse(last_id, "orders") if last_id else None
    run = _Following(side, client, LISTING, value, [0, 1], seen).run({}, says_begin=not last_id)
    task = asyncio.create_task(run)
    await asyncio.sleep(0.01)
    yield client
    assert not task.done(), task.exception()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_begins_with_the_present(orders: Orders) -> None:
    """What was there before is not sent; each change after that is: `row` in the list, `left` outside, `gone`."""
    await orders.save(0, {"a": ("placed", (1, 0)), "b": ("placed", (1, 1))})
    async with following(orders) as client:
        await client.hears(("begin", ""))
        assert "orders-1,order-0:1:1,order-1:0:0" == client.frames[0].id
        await orders.save(0, {"a": ("open", (2, 0)), "b": ("gone", (2, 1))})
        await orders.save(1, {"c": ("placed", (7, 3))})
        await client.hears(("begin", ""), ("left", "a"), ("gone", "b"), ("row", "c"))
        assert "orders-1,order-0:2:1,order-1:7:3" == client.frames[-1].id
        assert b'{"id":"c"}' == client.frames[-1].data


async def test_list_of_all(orders: Orders) -> None:
    """Without a status every row is in the list."""
    async with following(orders, value=None) as client:
        await orders.save(0, {"a": ("open", (1, 0))})
        await client.hears(("begin", ""), ("row", "a"))


async def test_goes_on_at_every_id(orders: Orders) -> None:
    """With the id of any event the rest comes, also more than is read at once."""
    keys = [f"{number:04}" for number in range(AT_ONCE * 2 + 3)]
    await orders.save(0, {key: ("placed", (1, index)) for index, key in enumerate(keys)})
    async with following(orders, BEGIN) as client:
        await client.hears(*(("row", key) for key in keys))
        ids = [frame.id for frame in client.frames]
    for index in (0, AT_ONCE - 1, AT_ONCE, len(keys) - 1):
        async with following(orders, ids[index]) as client:
            await client.hears(*(("row", key) for key in keys[index + 1 :]))


async def test_slow_client_gets_the_newest(orders: Orders) -> None:
    """While a client takes nothing, changes of a row become one; what its last id promises, it has."""
    async with following(orders, BEGIN) as client:
        client.takes.clear()
        await orders.save(0, {"a": ("placed", (1, 0))})
        await client.hears(("row", "a"))
        for nr in range(2, 50):
            await orders.save(0, {"a": ("open" if nr % 2 else "placed", (nr, 0)), f"b{nr % 3}": ("placed", (nr, 1))})
        await client.hears(("row", "a"))
        client.takes.set()
        await client.hears(("row", "a"), ("row", "b2"), ("row", "b0"), ("left", "a"), ("row", "b1"))
        assert "orders-1,order-0:49:1,order-1:0:0" == client.frames[-1].id


async def test_rows_folded_anew(orders: Orders) -> None:
    """A row that an operator had folded anew is sent though its position is old, to who is there and to who comes
    again; who begins with the present has it anyway."""
    await orders.save(0, {"a": ("open", (1, 0)), "b": ("open", (2, 0))})
    at = "orders-1,order-0:2:0,order-1:0:0"
    async with following(orders, at) as client:
        await orders.save(0, {"a": ("placed", (1, 0))}, place=(2, 0), released=["a"])
        await client.hears(("row", "a"))
        assert at == client.frames[-1].id
    async with following(orders, at) as client:
        await client.hears(("row", "a"))
    async with following(orders) as client:
        await client.hears(("begin", ""))


def test_marks() -> None:
    """A mark is read as it was written, and says of other streams what other workers say."""
    mark = ListCursor.parse(BEGIN, "orders")
    assert BEGIN == str(mark)
    mark.advance("order-1", (3, 2))
    mark.add(ListCursor(TABLE, {"order-0": (9, 1), "order-2": (0, -1)}))
    assert "orders-1,order-0:9:1,order-1:3:2,order-2:0:0" == str(mark)
    assert {"order-0", "order-1", "order-2"} == mark.streams
    for text in ("", "orders", "orders-1,", "orders-1,order-0", "users-1,order-0:1:0", "order-0:1:0,orders-1"):
        with pytest.raises(BadPositionHeader):
            ListCursor.parse(text, "orders")
