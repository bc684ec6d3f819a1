"""A client that follows one row comes to its last state, also when it was corrected while the client was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from projections.http.at_least import BadPositionHeader
from projections.http.etags import read_tag
from projections.streaming.sse import Frame, read_frames
from projections.views.live_rows import _follow, read_seen_row
from tests.unit.rows_of_orders import TABLE, Orders
from tests.unit.until import until

STREAM = "order-0"


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path)


class Stream:
    """What a client is sent."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.frames: list[Frame] = []
        self.is_open = False

    async def open(self) -> None:
        self.is_open = True

    async def send(self, data: bytes) -> None:
        self.frames += read_frames(data)


@asynccontextmanager
async def following(orders: Orders, last_event_id: str = "", table: str = TABLE) -> AsyncIterator[Stream]:
    """A client of order `a`, which has seen an event of this id."""
    stream: Any = Stream()
    seen = read_seen_row(last_event_id, STREAM) if last_event_id else None
    task = asyncio.create_task(_follow(stream, orders.rows, 0, table, "a", seen))
    await until(lambda: stream.is_open)
    yield stream
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def newest(orders: Orders) -> str:
    """The id of the event that a client gets that has seen nothing."""
    async with following(orders) as stream:
        await until(lambda: stream.frames)
        return stream.frames[-1].id


async def test_the_id_names_the_representation(orders: Orders) -> None:
    """Table, position and bytes, as the ETag of the row does."""
    await orders.save(0, {"a": ("open", (1, 0))})
    tag = read_tag(await newest(orders))
    assert tag is not None
    assert (TABLE, "order-0:1:0") == (tag.table, tag.position)


async def test_a_row_that_was_corrected(orders: Orders) -> None:
    """It is sent, though it has no newer event; the same row is not sent again."""
    await orders.save(0, {"a": ("open", (1, 0))})
    seen = await newest(orders)
    async with following(orders, seen) as stream:
        await asyncio.sleep(0.05)
        assert [] == stream.frames
    await orders.save(0, {"a": ("placed", (1, 0))}, released=["a"])
    async with following(orders, seen) as stream:
        await until(lambda: stream.frames)
        assert b'"placed"' in stream.frames[0].data
    assert seen != stream.frames[0].id


async def test_another_table(orders: Orders) -> None:
    """Whatever a client has seen of another table, it is sent the row of the one that answers now."""
    await orders.save(0, {"a": ("open", (1, 0))})
    seen = (await newest(orders)).replace(TABLE, "orders-0")
    async with following(orders, seen) as stream:
        await until(lambda: stream.frames)


async def test_a_row_that_is_behind(orders: Orders) -> None:
    """A worker that has not caught up yet does not take a client back: what the client has seen, or what is newer, is
    waited for."""
    await orders.save(0, {"a": ("placed", (5, 0))})
    seen = await newest(orders)
    older = read_tag(seen.replace("order-0:5:0", "order-0:4:9"))
    assert older is not None
    assert read_seen_row(seen, STREAM).is_all(older)
    async with following(orders, "order-0:6:0") as stream:
        await asyncio.sleep(0.05)
        assert [] == stream.frames
        await orders.save(0, {"a": ("shipped", (7, 0))})
        await until(lambda: stream.frames)


async def test_the_id_that_older_workers_gave(orders: Orders) -> None:
    """A position alone is still taken: the row that stands at it may be another one by now, and is sent."""
    await orders.save(0, {"a": ("open", (1, 0))})
    async with following(orders, "order-0:1:0") as stream:
        await until(lambda: stream.frames)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "order-1:1:0",
        "orders-1/order-1:1:0/1/0123456789abcdef",
        "orders-1/user-0:1:0/1/0123456789abcdef",
        "orders-1/order-0:1:0/1/xyz",
        "order-0:" + "9" * 5_000 + ":0",
        "",
    ],
)
def test_what_is_no_id(text: str) -> None:
    """It is refused, in a text that is not long."""
    with pytest.raises(BadPositionHeader) as caught:
        read_seen_row(text, STREAM)
    assert len(str(caught.value)) < 250
