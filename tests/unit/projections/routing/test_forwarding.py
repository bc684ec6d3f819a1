"""One worker asks another, over real HTTP: what it asks, what it hands back, and what it says when that fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from projections.applying.control import Control
from projections.http import forwarding
from projections.http.problems import NotNow
from projections.routing.query_router import QueryRouter
from streams.journal.port import Unavailable
from tests.unit.control_topic import ControlTopic, following
from tests.unit.problems import answered
from tests.unit.until import until

CHANGELOG = "order-rows-changelog"
MOST = 120

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class View:
    """What Faust gives to handlers: it makes answers."""

    def bytes(self, body: bytes, **options: Any) -> web.Response:
        return web.Response(body=body, **options)


class Other:
    """The worker that has partition 1: it answers as the test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.port = 0
        self.answer: Handler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return await self.answer(request)


class Source:
    """The tables of orders: what is waited for here never comes."""

    kept = (SimpleNamespace(name="orders"),)

    async def wait_for(self, partition: int, nr: int, names: Any, seconds: float, bound: Any) -> bool:
        with bound.one_more():
            await asyncio.sleep(seconds)
        return False

    def why_not(self, partition: int, names: Any) -> str:
        return ""

    def table(self, partition: int, table: str) -> None:
        return None


class Asker:
    """A worker that has partition 0 of two."""

    def __init__(self, control: Control, url: str) -> None:
        table = {CHANGELOG}
        app: Any = SimpleNamespace(
            is_ready=True,
            settings=SimpleNamespace(partitions=2, http_pending=MOST),
            conf=SimpleNamespace(canonical_url=URL("http://10.0.0.1:6066")),
            assigned=lambda topic: [0],
            router=SimpleNamespace(
                tables_metadata=lambda: {
                    "http://10.0.0.1:6066/": {topic: [0] for topic in table},
                    url: {topic: [1] for topic in table},
                }
            ),
        )
        source: Any = Source()
        self.doors = QueryRouter(app, control, {"orders": CHANGELOG}, {"order": source})
        self.url = url

    async def get(self, path: str, key: str = "d", **headers: str) -> web.Response:
        """Ask for a row."""
        named = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
        request = SimpleNamespace(headers=named, rel_url=URL(path, encoded=True), method="GET")

        async def answer(partition: int, table: str) -> Any:
            raise AssertionError("it is not here")

        return await answered(self.doors.ask_owner(View(), request, "orders", key, answer))  # type: ignore[no-any-return]


@pytest_asyncio.fixture
async def other() -> AsyncIterator[Other]:
    other = Other()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", other.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    other.port = runner.addresses[0][1]
    yield other
    await runner.cleanup()


@pytest_asyncio.fixture
async def asker(other: Other, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asker]:
    monkeypatch.setattr(forwarding.seldom.filters[0], "_heard", {})
    async with following(ControlTopic()) as control:
        await control.serve("orders", "orders-1")
        asker = Asker(control, f"http://127.0.0.1:{other.port}")
        assert 1 == asker.doors.partition("d")
        yield asker
        await asker.doors.close()


async def test_who_is_not_known_is_said_seldom(asker: Asker, other: Other, caplog: pytest.LogCaptureFixture) -> None:
    """While the clocks of two workers differ, each query fails, and one line says why."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=403)

    other.answer = answer
    for _ in range(20):
        assert 503 == (await asker.get("/orders/d")).status
    assert 1 == caplog.text.count("answered 403: are the clocks right, and its names?")


async def test_waits_elsewhere_have_a_bound_of_their_own(asker: Asker, other: Other) -> None:
    """Each has a connection, and so a file: with no more of those, one more is told at once that the worker is busy."""

    async def answer(request: web.Request) -> web.Response:
        raise AssertionError("it is not asked")

    other.answer = answer
    asker.doors._applied._asking.most = 0
    refused = await asker.get("/orders/d", At_Least="order-1:9")
    assert 503 == refused.status
    assert b"busy" in (refused.body or b"")


async def test_headers_of_the_owners_answer_survive(asker: Asker, other: Other) -> None:
    """What is part of an answer is handed on, whoever was asked; cookies are not, nor are they kept."""
    told = {
        "ETag": '"a"',
        "Vary": "Accept",
        "Cache-Control": "no-cache",
        "Position": "order-1:1:0",
        "Sequence": "1",
        "Set-Cookie": "a=b",
    }

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"{}", content_type="application/json", headers=told)

    other.answer = answer
    for _ in range(2):
        response = await asker.get("/orders/b", If_None_Match='"x", W/"y"')
        assert (200, b"{}", "application/json") == (response.status, response.body, response.content_type)
        del told["Set-Cookie"]
        assert told == {name: response.headers.get(name) for name in told}
        assert "Set-Cookie" not in response.headers
        told["Set-Cookie"] = "a=b"
    assert '"x", W/"y"' == other.asked[0].headers["If-None-Match"]
    assert "Cookie" not in other.asked[1].headers


async def test_headers_that_are_no_utf_8(asker: Asker, other: Other) -> None:
    """They match nothing, and are no bug; what stands beside them goes on."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"{}")

    other.answer = answer
    assert 200 == (await asker.get("/orders/d", If_None_Match='"\udcff", "a"')).status
    assert '"?", "a"' == other.asked[0].headers["If-None-Match"]


@pytest.mark.parametrize(
    "path", ["/orders/%2E%2E", "/orders/..", "/orders/%2E", "/orders/.", "/orders/a%2Fb", "/orders/%C3%A9?a=%2B+b%20"]
)
async def test_paths_go_on_as_they_came(asker: Asker, other: Other, path: str) -> None:
    """An id is the same at every worker, whatever is in it."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"{}")

    other.answer = answer
    assert 200 == (await asker.get(path)).status
    assert [path] == [request.raw_path for request in other.asked]


async def test_no_redirect_is_followed(asker: Asker, other: Other, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that sends somewhere else is not believed, and asked nothing more."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/secret"})

    other.answer = answer
    response = await asker.get("/orders/b")
    assert (503, 1) == (response.status, len(other.asked))
    with pytest.raises(NotNow):
        await asker.doors.each("orders", "/lag", {}, lambda: None)
    assert 2 == len(other.asked)


async def test_answers_are_bounded(asker: Asker, other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an answer that does not end so much is read, and no more."""
    monkeypatch.setattr(forwarding, "MOST_ANSWER", 100_000)
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b"x" * 10_000)
            sent += 10_000
        return response

    other.answer = answer
    assert 503 == (await asker.get("/orders/b")).status
    assert sent < 90_000_000


@pytest.mark.parametrize("body", [b"", b"[]", b'{"partitions": 5, "answer": 1}', b"\xff", b"[" * 50_000])
async def test_what_no_worker_answers(asker: Asker, other: Other, body: bytes) -> None:
    """Whatever it is, it is a 503 and no bug."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body)

    other.answer = answer
    with pytest.raises(NotNow):
        await asker.doors.each("orders", "/lag", {}, lambda: None)


async def test_no_address_in_an_answer(asker: Asker, other: Other, caplog: pytest.LogCaptureFixture) -> None:
    """Who cannot be reached is named by what he has; where he is stands in the log, once."""
    asker.url = "http://127.0.0.1:1"
    doors: Any = asker.doors
    doors._app.router.tables_metadata = lambda: {
        "http://10.0.0.1:6066/": {CHANGELOG: [0]},
        asker.url: {CHANGELOG: [1]},
    }
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            response = await asker.get("/orders/b")
            assert 503 == response.status
            assert b"the worker that has partition 1 cannot be reached" in response.body  # type: ignore[operator]
            assert b"127.0.0.1" not in response.body  # type: ignore[operator]
    assert 1 == sum("http://127.0.0.1:1" in record.getMessage() for record in caplog.records)


async def test_a_stores_words_are_for_the_log(asker: Asker, caplog: pytest.LogCaptureFixture) -> None:
    """What a store says of itself, with its address, is not an answer."""

    async def answer(partition: int, table: str) -> Any:
        raise Unavailable("cassandra at 10.0.0.9: NoHostAvailable")

    request = SimpleNamespace(headers=CIMultiDict(), rel_url=URL("/orders/a"), method="GET")
    assert 0 == asker.doors.partition("a")
    with caplog.at_level(logging.INFO):
        response = await answered(asker.doors.ask_owner(View(), request, "orders", "a", answer))
    assert (503, "1") == (response.status, response.headers["Retry-After"])
    assert b"10.0.0.9" not in response.body
    assert "10.0.0.9" in caplog.text


async def test_waits_are_in_nobodys_way(asker: Asker, other: Other) -> None:
    """While as many as may wait for positions elsewhere, queries are answered at once, and one more who would wait is
    told at once that the worker is busy."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/applied/"):
            await asyncio.sleep(60)
        return web.Response(body=b"{}", content_type="application/json")

    other.answer = answer
    far = {"At_Least": "order-1:999999", "Prefer": "wait=60"}
    waits = [asyncio.create_task(asker.get("/orders/b", **far)) for _ in range(MOST)]
    await until(lambda: len(other.asked) == MOST, 20)
    began = time.monotonic()
    response = await asker.get("/orders/b")
    busy = await asker.get("/orders/b", **far)
    assert time.monotonic() - began < 30
    assert 200 == response.status
    assert (503, "1") == (busy.status, busy.headers["Retry-After"])
    assert b"busy" in busy.body  # type: ignore[operator]
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def test_all_positions_are_waited_for(asker: Asker, other: Other) -> None:
    """Of two headers the second counts as well as the first."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"{}", content_type="application/json")

    other.answer = answer
    for positions in (["order-1:5", "order-0:9"], ["order-0:9", "order-1:5"], ["order-1:5, order-0:9"]):
        named = CIMultiDict([*(("At-Least", it) for it in positions), ("Prefer", "wait=0")])
        with pytest.raises(NotNow, match="order-0:9 is not applied yet"):
            await asker.doors.read_your_writes(SimpleNamespace(headers=named), ["orders"])
    assert 200 == (await asker.get("/orders/b", At_Least="order-1:5")).status


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (429, b"", "the worker that has partition 1 is busy"),
        (503, b'{"detail": "order-1:5 is not applied yet: orders-1 is paused"}', "orders-1 is paused"),
        (503, b"", "the worker that has partition 1 cannot answer now"),
    ],
)
async def test_why_a_wait_failed(asker: Asker, other: Other, status: int, body: bytes, says: str) -> None:
    """What the worker says that was waited at is told to the client."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    other.answer = answer
    response = await asker.get("/orders/b", At_Least="order-1:5", Prefer="wait=1")
    assert 503 == response.status
    assert says.encode() in response.body  # type: ignore[operator]


class Pages:
    """An app that is given one page."""

    def page(self, path: str) -> Any:
        def take(handler: Any) -> Any:
            self.handler = handler
            return handler

        return take


async def test_who_is_waited_at(asker: Asker) -> None:
    """A worker that is asked to wait says when it has the position, that it has not in time, or at once that as many
    wait as may; what is no position is 400."""
    pages: Any = Pages()
    doors: Any = asker.doors
    doors._applied.add_view(pages)

    async def ask(nr: str, seconds: str = "0") -> web.Response:
        request = SimpleNamespace(query={"seconds": seconds, "projections": "orders"})
        return await answered(pages.handler(View(), request, "order-0", nr))  # type: ignore[no-any-return]

    late = await ask("9")
    assert (503, True) == (late.status, b"order-0:9 is not applied yet" in late.body)  # type: ignore[operator]
    for nr, seconds in (("9" * 5_000, "0"), ("x", "0"), ("9", "nan"), ("9", "soon")):
        assert 400 == (await ask(nr, seconds)).status
    waits = [asyncio.create_task(ask("9", "60")) for _ in range(MOST)]
    await until(lambda: doors._applied._waiting.now == MOST)
    busy = await ask("9", "60")
    assert (429, "1", True) == (busy.status, busy.headers["Retry-After"], b"busy" in busy.body)  # type: ignore[operator]
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
