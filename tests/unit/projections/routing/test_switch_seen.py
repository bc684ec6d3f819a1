"""Two workers, one of which has not read yet that another table answers: who has seen the new one sees no old one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from projections.applying.control import Control
from projections.http.forwarding import HOP, SEEN, Behind
from projections.routing.query_router import QueryRouter
from tests.unit.control_topic import ControlTopic, following
from tests.unit.problems import answered

CHANGELOG = "order-rows-changelog"


class View:
    """What a view answers."""

    def bytes(self, body: bytes, content_type: str = "", status: int = 200, headers: Any = None) -> Any:
        return SimpleNamespace(body=body, status=status, headers=headers or {})


class Worker:
    """One that has all partitions."""

    def __init__(self, control: Control) -> None:
        self.control = control
        app: Any = SimpleNamespace(
            is_ready=True,
            settings=SimpleNamespace(partitions=1, http_pending=10),
            assigned=lambda topic: [0],
        )
        source: Any = SimpleNamespace(kept=[SimpleNamespace(name="orders")], table=lambda partition, table: None)
        self.doors = QueryRouter(app, control, {"orders": CHANGELOG}, {"order": source})

    async def told(self, headers: Mapping[str, str]) -> Any:
        """Its answer to another worker: the table that it has looked into, or why it has not."""

        async def answer(partition: int, table: str) -> Any:
            return SimpleNamespace(body=table.encode(), status=200, headers={})

        request = SimpleNamespace(headers=headers)
        return await answered(self.doors.ask_owner(View(), request, "orders", "a", answer))


@asynccontextmanager
async def running(topic: ControlTopic) -> AsyncIterator[Worker]:
    async with following(topic) as control:
        yield Worker(control)


async def test_who_asks_is_behind() -> None:
    """The owner does not answer from the table that it knows to be old; who asked reads on, and asks again."""
    topic = ControlTopic()
    async with running(topic) as asks, running(topic) as owner:
        await asks.control.serve("orders", "orders-1")
        behind = asks.doors.hop(await asks.doors.serving("orders"))
        assert {HOP: "orders=orders-1", SEEN: "0"} == behind
        assert b"orders-1" == (await owner.told(behind)).body
        await owner.control.serve("orders", "orders-2")
        refused = await owner.told(behind)
        assert (503, "1") == (refused.status, refused.headers[SEEN])
        with pytest.raises(Behind):
            await asks.doors.raise_if_behind(refused)
        assert b"orders-2" == (await owner.told(asks.doors.hop(await asks.doors.serving("orders")))).body


async def test_who_is_asked_is_behind() -> None:
    """The owner answers from the new table that it is told only when it has read of the switch itself."""
    topic = ControlTopic()
    async with running(topic) as asks:
        await asks.control.serve("orders", "orders-1")
        async with running(topic) as owner:
            await topic.let_read(1)
            switching = asyncio.create_task(asks.control.serve("orders", "orders-2"))
            asked = asyncio.create_task(owner.told({HOP: "orders=orders-2", SEEN: "1"}))
            await asyncio.sleep(0.02)
            assert not asked.done()
            await topic.let_read()
            await switching
            assert b"orders-2" == (await asked).body
            assert "orders-2" == owner.control.serving("orders")


async def test_tables_that_are_not_there() -> None:
    """A table that neither answers nor is kept here is not looked into: that would make it."""
    topic = ControlTopic()
    async with running(topic) as owner:
        await owner.control.serve("orders", "orders-1")
        for seen in ("0", "x", "-1"):
            assert 503 == (await owner.told({HOP: "orders=orders-9999", SEEN: seen})).status
        assert 503 == (await owner.told({HOP: "orders=orders-evil"})).status


async def test_other_facts_are_no_switch() -> None:
    """That an owner has read more orders is no reason not to answer."""
    topic = ControlTopic()
    async with running(topic) as owner:
        await owner.control.serve("orders", "orders-1")
        await owner.control.pause("products", "why")
        assert b"orders-1" == (await owner.told({HOP: "orders=orders-1", SEEN: "0"})).body
        assert b"orders-1" == (await owner.told({HOP: "orders=orders-1", SEEN: "x"})).body
        assert 503 == (await owner.told({HOP: "products=products-1", SEEN: "0"})).status
