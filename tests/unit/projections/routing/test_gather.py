"""An answer that is put together takes its turns, and is whole or none."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from projections.http.forwarding import HOP, Tables
from projections.routing.query_router import QueryRouter
from projections.stores.rows import Quarantined
from tests.unit.control_topic import ControlTopic, following
from tests.unit.problems import answered

CHANGELOG = "order-rows-changelog"
URL = "http://worker:1"


class View:
    """What a view answers."""

    def bytes(self, body: bytes, **options: Any) -> web.Response:
        return web.Response(body=body, **options)


class Worker:
    """One that has all partitions of two, as long as nothing moves."""

    def __init__(self, control: Any) -> None:
        self.partitions = {0, 1}
        self.app: Any = SimpleNamespace(
            is_ready=True,
            conf=SimpleNamespace(canonical_url=URL),
            settings=SimpleNamespace(partitions=2, http_pending=10),
            router=SimpleNamespace(tables_metadata=lambda: {URL: {CHANGELOG: [0, 1]}}),
            assigned=lambda topic: sorted(self.partitions),
        )
        self.waits: dict[str, Quarantined] = {}
        source: Any = SimpleNamespace(
            type="order",
            kept=[SimpleNamespace(name="orders")],
            table=lambda partition, table: SimpleNamespace(quarantined=self.waits if partition == 1 else {}),
            wait_for=self.has_it,
        )
        self.doors = QueryRouter(self.app, control, {"orders": CHANGELOG}, {"order": source})

    async def has_it(self, *what: Any) -> bool:
        """Whatever is waited for is applied."""
        return True

    async def ask(self, answer: Any, put: Any, **headers: str) -> Any:
        named = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
        request = SimpleNamespace(headers=named, rel_url=SimpleNamespace(raw_path_qs="/orders"))
        response = await answered(self.doors.gather(View(), request, ["orders"], answer, put))
        return response.status, msgspec.json.decode(response.body)


async def test_parts_may_take_their_time() -> None:
    """What a worker answers, and what is made of the answers, may be awaited, or be there at once."""
    async with following(ControlTopic()) as control:
        await control.serve("orders", "orders-1")
        worker = Worker(control)

        async def slowly(partitions: list[int], tables: Tables) -> Any:
            await asyncio.sleep(0)
            return [partitions, tables["orders"]]

        async def put_slowly(parts: list[Any]) -> Any:
            await asyncio.sleep(0)
            return {"parts": parts}

        expected = 200, {"parts": [[[0, 1], "orders-1"]]}
        for answer in (slowly, lambda partitions, tables: [partitions, tables["orders"]]):
            for put in (put_slowly, lambda parts: {"parts": parts}):
                assert expected == await worker.ask(answer, put)
        told = {HOP: "orders=orders-1", "X-Control-Offset": str(control.offset)}
        status, body = await worker.ask(slowly, put_slowly, **told)
        assert (200, [0, 1], [[0, 1], "orders-1"]) == (status, sorted(body["partitions"]), body["answer"])


async def test_partitions_that_leave_meanwhile() -> None:
    """When partitions move while an answer is made it is 503, not a part that looks like the whole."""
    async with following(ControlTopic()) as control:
        await control.serve("orders", "orders-1")
        worker = Worker(control)

        async def moving(partitions: list[int], tables: Tables) -> Any:
            worker.partitions = {0}
            return []

        async def rebalancing(partitions: list[int], tables: Tables) -> Any:
            worker.app.is_ready = False
            return []

        for answer in (moving, rebalancing):
            for headers in ({}, {HOP: "orders=orders-1"}):
                worker.partitions, worker.app.is_ready = {0, 1}, True
                status, body = await worker.ask(answer, lambda parts: parts, **headers)
                assert (503, "Not now") == (status, body["title"])


async def test_a_write_that_waits_is_not_shown() -> None:
    """Who asks to see a write is not given an answer of rows one of which may lack it, since its key waits; what came
    before, what came to other partitions, and who does not ask are in no way of it."""
    async with following(ControlTopic()) as control:
        await control.serve("orders", "orders-1")
        worker = Worker(control)
        worker.waits = {"7": Quarantined("order-1:5:0", "it raises", 1)}
        own, hop = {}, {HOP: "orders=orders-1"}
        for headers in (own, hop):
            for at_least in ("order-1:5", "order-0:1, order-1:9:0"):
                status, body = await worker.ask(lambda *_: [], lambda parts: parts, At_Least=at_least, **headers)
                assert (503, "7 waits in orders-1: it raises") == (status, body["detail"])
            for at_least in ("order-1:4", "order-0:9"):
                assert 200 == (await worker.ask(lambda *_: [], lambda parts: parts, At_Least=at_least, **headers))[0]
            assert 200 == (await worker.ask(lambda *_: [], lambda parts: parts, **headers))[0]
