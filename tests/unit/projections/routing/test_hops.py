"""Two workers that ask each other, on real sockets: they believe each other, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest_asyncio
from aiohttp import web

from projections.applying.control import Control
from projections.http.forwarding import HOP, SEEN
from projections.http.problems import problems
from projections.routing.query_router import QueryRouter
from projections.routing.signature import HopSignature
from tests.unit.control_topic import ControlTopic, following

CHANGELOG = "order-rows-changelog"
PARTITIONS = 4
IDS = ["a", "a/b", "ü", "a b+c", "100%", "?x=1#y", "~(a)'!$&,;=:@", "%2F", "a" * 500]


class View:
    """What Faust gives to handlers: it makes answers."""

    def bytes(self, body: bytes, **options: Any) -> web.Response:
        return web.Response(body=body, **options)


class Worker:
    """One that has some of the partitions, and says what it looks into."""

    def __init__(self, control: Control, name: str, partitions: set[int]) -> None:
        self.control = control
        self.name = name
        self.partitions = partitions
        self.looked: list[str] = []
        self.asked_by: list[bool] = []
        self.placed: dict[str, dict[str, list[int]]] = {}
        self.app: Any = SimpleNamespace(
            is_ready=True,
            conf=SimpleNamespace(canonical_url=""),
            settings=SimpleNamespace(partitions=PARTITIONS, http_pending=100),
            router=SimpleNamespace(tables_metadata=lambda: self.placed),
            assigned=lambda topic: sorted(partitions),
        )
        source: Any = SimpleNamespace(kept=[SimpleNamespace(name="orders")], table=lambda partition, table: None)
        self.doors = QueryRouter(self.app, control, {"orders": CHANGELOG}, {"order": source})

    async def start(self) -> None:
        signature = HopSignature(lambda: self.control.secrets)
        app = web.Application(middlewares=[problems, signature.middleware])
        app.router.add_get("/orders/{id}", self._by_key)
        app.router.add_get("/orders", self._all)
        app.router.add_post("/orders/{id}/fold", self._fold)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.app.conf.canonical_url = self.url

    async def stop(self) -> None:
        await self.doors.close()
        await self.runner.cleanup()

    async def _by_key(self, request: web.Request) -> Any:
        async def answer(partition: int, table: str) -> Any:
            self.looked.append(table)
            self.asked_by.append(HOP in request.headers)
            return web.json_response({"id": request.match_info["id"], "by": self.name})

        return await self.doors.ask_owner(View(), request, "orders", request.match_info["id"], answer)

    async def _all(self, request: web.Request) -> Any:
        return await self.doors.gather(
            View(),
            request,
            ["orders"],
            lambda partitions, tables: [self.name, tables["orders"]],
            lambda parts: {"parts": sorted(parts)},
        )

    async def _fold(self, request: web.Request) -> Any:
        if HOP in request.headers:
            assert "application/json" == request.content_type
            return web.json_response({"partitions": sorted(self.partitions), "answer": self.name})
        path = request.rel_url.raw_path
        parts = await self.doors.each("orders", path, {}, lambda: self.name, "POST")
        return web.json_response({"parts": sorted(parts)})


Two = tuple[Worker, Worker, aiohttp.ClientSession]


@pytest_asyncio.fixture
async def two() -> AsyncIterator[Two]:
    topic = ControlTopic()
    async with AsyncExitStack() as stack:
        controls = [await stack.enter_async_context(following(topic)) for _ in range(2)]
        await controls[0].serve("orders", "orders-1")
        for control in controls:
            await control.share_secret()
            await control.wait_for(1)
        one, other = Worker(controls[0], "one", {0, 1}), Worker(controls[1], "other", {2, 3})
        for worker in (one, other):
            await worker.start()
            stack.push_async_callback(worker.stop)
        for worker in (one, other):
            worker.placed = {it.url: {CHANGELOG: sorted(it.partitions)} for it in (one, other)}
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield one, other, http


async def test_they_believe_each_other(two: Two) -> None:
    """Whichever is asked, the one that has the partition answers, for ids of every form; lists and orders are of
    both."""
    one, other, http = two
    for id in IDS:
        answers = set()
        for worker in (one, other):
            async with http.get(f"{worker.url}/orders/{quote(id, safe='')}?x=%20%2B+") as response:
                told = await response.json()
                assert (200, id) == (response.status, told["id"]), told
                answers.add(told["by"])
        assert 1 == len(answers), id
    assert {True, False} == {*one.asked_by, *other.asked_by}
    async with http.get(f"{one.url}/orders?limit=10&after=%C3%A9") as response:
        assert {"parts": [["one", "orders-1"], ["other", "orders-1"]]} == await response.json()
    async with http.post(f"{other.url}/orders/a%2Fb/fold") as response:
        assert {"parts": ["one", "other"]} == await response.json()


async def test_nobody_else(two: Two) -> None:
    """A client that says that it is a worker is refused, and looks into no table of its choice."""
    one, other, http = two
    for worker in (one, other):
        for headers in ({HOP: "orders=orders-evil"}, {HOP: "orders=orders-1", SEEN: "1"}, {HOP: "1"}):
            for method, path in (("GET", "/orders/a"), ("GET", "/orders"), ("POST", "/orders/a/fold")):
                async with http.request(method, worker.url + path, headers=headers) as response:
                    assert 403 == response.status
        assert [] == worker.looked


async def test_strangers_among_workers(two: Two) -> None:
    """Of a worker that does not know the secret yet nothing is taken: 503, and no address in the answer."""
    one, other, http = two
    one.control._secrets = (b"another",)
    async with http.get(f"{one.url}/orders") as response:
        told = await response.json()
        assert (503, "Not now") == (response.status, told["title"])
        assert "127.0.0.1" not in told["detail"]
    one.control._secrets, one.control._secret_read = (b"newest", *other.control.secrets), float("-inf")
    other.control._secrets = (b"newest",)
    async with http.get(f"{one.url}/orders") as response:
        assert 200 == response.status
