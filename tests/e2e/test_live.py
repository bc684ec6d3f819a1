"""Rows and lists as streams of events, with two workers: what has changed comes, at either and after a kill too."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from projections.http.etags import read_tag
from tests.e2e.client import PARTITIONS, eventually, partition_of
from tests.e2e.follower import STREAM, Event, Follower
from tests.e2e.orders import LINE, OPEN, do, place, shown
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

CLIENTS = 6
PLACED = "/orders?status=placed"


@dataclass
class Shop:
    """Both workers, and the partitions that each has."""

    one: Worker
    two: Worker
    of_one: list[int]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """An order worker, and two projection workers that take few clients."""
    orders = system.start(ORDERS)
    one, two = (system.start(PROJECTIONS, SSE_CLIENTS=str(CLIENTS)) for _ in range(2))
    await system.all_served(orders)
    await system.all_served(one, two)
    of_one = await system.partitions(one)
    assert of_one
    return Shop(one, two, of_one)


@contextlib.asynccontextmanager
async def following(system: System, worker: Worker, path: str, last_id: str = "") -> AsyncIterator[Follower]:
    """A client of a stream, until the end of the block."""
    follower = Follower(system.http, worker.url + path, last_id=last_id).start()
    try:
        await eventually(lambda: follower.opened, 15, lambda: f"{path}: {follower.statuses}")
        yield follower
    finally:
        await follower.stop()


def lines(events: list[Event]) -> list[int]:
    """The number of the lines of an order, as each event has it."""
    return [len(event.data["lines"]) for event in events]


def line(number: int) -> dict[str, Any]:
    return LINE | {"sku": f"sku-{number}"}


async def test_row_and_its_changes(system: System, shop: Shop) -> None:
    """The row as it is, then each change, at the worker that has it and at the other; the `id` is the ETag's tag."""
    for key in ("a1", "a2", "a3", "a4"):
        await do(system, [key], "OpenOrder", OPEN)
        path = f"/orders/{key}"
        async with following(system, shop.one, path) as one, following(system, shop.two, path) as two:
            for number in range(3):
                for follower in (one, two):
                    await follower.until(lambda events, n=number: events and lines(events)[-1] == n)
                await do(system, [key], "AddLine", line(number))
            for follower in (one, two):
                await follower.until(lambda events: lines(events)[-1:] == [3])
                assert [0, 1, 2, 3] == lines(follower.events)
                assert {"row"} == {event.event for event in follower.events}
                tags = [read_tag(event.id) for event in follower.events]
                assert ["orders-1"] * 4 == [tag.table for tag in tags if tag is not None]
            _, row, headers = await system.get(shop.one, path)
            assert row == one.events[-1].data == two.events[-1].data
            assert headers["ETag"] == f'"{one.last_id}"' == f'"{two.last_id}"'
    assert {True, False} == {partition_of(key) in shop.of_one for key in ("a1", "a2", "a3", "a4")}


async def test_row_that_does_not_exist_yet(system: System, shop: Shop) -> None:
    """The stream of a key without a row is open, and sends the row when it is there."""
    for worker in (shop.one, shop.two):
        key = f"b-{worker.port}"
        async with following(system, worker, f"/orders/{key}") as follower:
            assert [] == follower.events
            await do(system, [key], "OpenOrder", OPEN)
            await follower.until(lambda events: [event.event for event in events] == ["row"])


async def test_row_goes_on_where_the_client_was(system: System, shop: Shop) -> None:
    """With the position of the row that it has, a client gets nothing until the row changes; with an older one, the
    newest row at once: not those in between."""
    for key in ("c1", "c2", "c3"):
        await do(system, [key], "OpenOrder", OPEN)
        async with following(system, shop.one, f"/orders/{key}") as follower:
            await follower.until(lambda events: events)
            old = follower.last_id
        for number in range(3):
            await shown(system, shop.two, await do(system, [key], "AddLine", line(number)))
        for worker in (shop.one, shop.two):
            async with following(system, worker, f"/orders/{key}", old) as follower:
                await follower.until(lambda events: events)
                assert [3] == lines(follower.events)
        newest = follower.last_id
        one, two = (following(system, worker, f"/orders/{key}", newest) for worker in (shop.one, shop.two))
        async with one as first, two as second:
            replies = await do(system, [key], "AddLine", line(3))
            for follower in (first, second):
                await follower.until(lambda events: events)
                assert [4] == lines(follower.events)
                assert follower.last_id.startswith(f"orders-1/{replies[0]['position']}:")


async def test_list_and_its_changes(system: System, shop: Shop) -> None:
    """Who follows a list hears where it begins, then of each order that is in it, and of each that is not any more; at
    both workers the same, from the partitions of both."""
    keys = [f"d{number}" for number in range(12)]
    assert set(range(PARTITIONS)) == set(map(partition_of, keys))
    async with following(system, shop.one, PLACED) as one, following(system, shop.two, PLACED) as two:
        for follower in (one, two):
            await follower.until(lambda events: events)
            assert [("begin", {})] == [(event.event, event.data) for event in follower.events]
        await place(system, keys)
        await do(system, keys[:5], "ConfirmOrder", {})
        _, listed, _ = await system.get(shop.one, PLACED + "&limit=1000")
        for follower in (one, two):
            await follower.until(lambda events: set(keys[5:]) == in_list(events))
            assert {"begin", "row", "left"} == {event.event for event in follower.events}
            rows = {event.data["id"]: event.data for event in follower.events if event.event == "row"}
            assert {1} == {row["lines"] for row in rows.values()}
            last = {event.data["id"]: event for event in follower.events if event.data}
            assert all(row == last[row["id"]].data for row in listed["orders"] if row["id"] in keys[5:])
            assert {"left"} == {last[key].event for key in keys[:5]}


def in_list(events: list[Event]) -> set[str]:
    """The orders that are in the list after these events."""
    found: set[str] = set()
    for event in events:
        match event.event:
            case "row":
                found.add(event.data["id"])
            case "left" | "gone":
                found.discard(event.data["id"])
    return found


async def test_list_goes_on_where_the_client_was(system: System, shop: Shop) -> None:
    """With the id of any event of a list a client hears of every order that has changed since, in its newest state,
    once, and of no other, whichever worker it asks."""
    keys = [f"e{number}" for number in range(16)]
    async with following(system, shop.one, PLACED) as follower:
        await place(system, keys)
        await follower.until(lambda events: set(keys) <= in_list(events))
        events = list(follower.events)
    ids = [event.id for event in events]
    assert len(set(ids)) == len(ids)
    await shown(system, shop.one, await do(system, keys[:8], "ConfirmOrder", {}))
    for worker in (shop.one, shop.two):
        for index in (0, len(ids) // 2, len(ids) - 1):
            heard = {event.data["id"] for event in events[index + 1 :]} & set(keys)
            expected = dict.fromkeys(heard, "row") | dict.fromkeys(keys[:8], "left")
            async with following(system, worker, PLACED, ids[index]) as follower:
                await follower.until(lambda events, its=expected: its.keys() <= {event.data["id"] for event in events})
                end = f"end-{worker.port}-{index}"
                await do(system, [end], "OpenOrder", OPEN)
                await follower.until(lambda events, its=end: any(event.data["id"] == its for event in events))
            found = [(event.data["id"], event.event) for event in follower.events if event.data["id"] in keys]
            assert sorted(expected.items()) == sorted(found)


async def test_list_of_another_table(system: System, shop: Shop) -> None:
    """An id from a table that does not answer any more is no place to go on from: all rows may be others by now."""
    async with following(system, shop.one, PLACED) as follower:
        await follower.until(lambda events: events)
    old = follower.last_id.replace("orders-1,", "orders-0,")
    assert old != follower.last_id
    async with following(system, shop.two, PLACED, old) as follower:
        await follower.until(lambda events: [event.event for event in events] == ["begin"])
        places = ["orders-1", *(f"order-{partition}" for partition in range(PARTITIONS))]
        assert places == [place.partition(":")[0] for place in follower.last_id.split(",")]


@pytest.mark.parametrize(
    ("path", "last_id"),
    [
        ("/orders/a1", "x"),
        ("/orders/a1", "order-99:1:0"),
        ("/orders/a1", "user-1:1:0"),
        (PLACED, "x"),
        (PLACED, "order-0:1:0,order-1:1:0,order-2:1:0,order-3:1:0"),
        (PLACED, "orders-1,order-0:1:0"),
        (PLACED, "orders-1,order-0:1:0,order-1:1:0,order-2:1:0,order-3:-1:0"),
        (PLACED, "users-1,order-0:1:0,order-1:1:0,order-2:1:0,order-3:1:0"),
        ("/orders?status=paid", ""),
    ],
)
async def test_bad_questions(system: System, shop: Shop, path: str, last_id: str) -> None:
    """A place that is none is a bad request, as is a status that is none."""
    for worker in (shop.one, shop.two):
        status, body, _ = await system.get(worker, path, Accept=STREAM, Last_Event_ID=last_id)
        assert (400, 400) == (status, body["status"])


async def test_head(system: System, shop: Shop) -> None:
    """HEAD says what a GET would stream, and ends."""
    for path in ("/orders/a1", PLACED):
        async with system.http.head(shop.one.url + path, headers={"Accept": STREAM}) as response:
            assert (200, STREAM) == (response.status, response.content_type)


async def test_too_many_clients(system: System, shop: Shop) -> None:
    """A worker takes so many clients and no more, whatever they follow; who is gone makes room at once."""
    async with contextlib.AsyncExitStack() as stack:
        for number in range(CLIENTS):
            path = PLACED if number % 2 else f"/orders/f{number}"
            await stack.enter_async_context(following(system, shop.one, path))
        status, body, headers = await system.get(shop.one, PLACED, Accept=STREAM)
        assert (503, 503) == (status, body["status"])
        assert int(headers["Retry-After"]) > 0
        async with following(system, shop.two, PLACED):
            pass
    async with following(system, shop.one, PLACED):
        pass


async def test_streams_go_on_after_a_kill(system: System, shop: Shop) -> None:
    """kill -9 of a worker under load: clients of the other, and those of the killed one who turn to the other, come
    again by themselves and see the last state of every order; a worker that is told to end does so while it has
    clients."""
    keys = [f"g{number}" for number in range(24)]
    await place(system, keys[:12])
    one = next(key for key in keys if partition_of(key) in shop.of_one)
    async with (
        following(system, shop.two, "/orders?status=open") as lists,
        following(system, shop.one, "/orders?status=open") as moved,
        following(system, shop.two, f"/orders/{one}") as row,
    ):
        await do(system, keys[12:], "OpenOrder", OPEN)
        added = asyncio.create_task(_add_lines(system, keys[12:], 10))
        await eventually(lambda: lists.events, 15, "nothing comes")
        shop.one.signal(signal.SIGKILL)
        moved.url = lists.url
        replies = await added
        replies += await do(system, [one], "ConfirmOrder", {})
        await eventually(lambda: system.partitions(shop.two), 30, shop.two.tail)
        await system.all_served(shop.two)
        await shown(system, shop.two, replies)
        for follower in (lists, moved):
            await follower.until(lambda events: all(last(events, key) == ("row", 10) for key in keys[12:]), 30)
            assert follower.ended >= 1
        await row.until(lambda events: events and events[-1].data["status"] == "confirmed", 30)
        shop.two.signal(signal.SIGTERM)
        await eventually(lambda: not shop.two.running, 10, shop.two.tail)
    for worker in (shop.one, shop.two):
        assert "Traceback" not in worker.log.read_text("utf-8"), worker.tail()


def last(events: list[Event], key: str) -> tuple[str, int] | None:
    """The last event of an order, with the number of its lines."""
    found = [event for event in events if event.data.get("id") == key]
    return (found[-1].event, found[-1].data.get("lines", -1)) if found else None


async def _add_lines(system: System, keys: list[str], count: int) -> list[dict[str, Any]]:
    replies: list[dict[str, Any]] = []
    for number in range(count):
        replies += await do(system, keys, "AddLine", line(number))
    return replies
