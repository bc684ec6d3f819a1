"""What is counted of requests over HTTP, on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from streams.observability import catalog
from streams.observability.instruments import Instruments
from streams.observability.requests import RequestMetrics


class Server:
    """A page of a worker: `/orders/{id}` does what its id says."""

    def __init__(self) -> None:
        self.instruments = Instruments()
        self.waits = asyncio.Event()

    async def start(self) -> None:
        app = web.Application(middlewares=[RequestMetrics(self.instruments).middleware])
        app.router.add_route("*", "/orders/{id}", self._answer)
        # As a worker's: a request whose client has gone is cancelled.
        self.runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        match request.match_info["id"]:
            case "bug":
                raise ZeroDivisionError
            case "gone":
                raise web.HTTPGone
            case "slow":
                self.waits.set()
                await asyncio.sleep(60)
            case "stream":
                stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
                await stream.prepare(request)
                return stream
        return web.Response(text="found")

    def counts(self) -> dict[tuple[str, ...], float]:
        return {labels: count.value for labels, count in self.instruments.counter(catalog.HTTP_REQUESTS).series.items()}

    def timed(self) -> dict[tuple[str, ...], int]:
        return {
            labels: sum(spread.counts)
            for labels, spread in self.instruments.histogram(catalog.HTTP_SECONDS).series.items()
        }


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.runner.cleanup()


@pytest.mark.filterwarnings("ignore")
async def test_requests_count_by_route_and_status(server: Server) -> None:
    """By the pattern of the path, not by ids; methods and paths that somebody makes up are one series."""
    async with aiohttp.ClientSession(server.url) as http:
        for method, path in (
            ("GET", "/orders/1"), ("GET", "/orders/2"), ("GET", "/orders/gone"), ("GET", "/orders/bug"),
            ("GET", "/made/up"), ("PROPFIND", "/orders/1"),
        ):  # fmt: skip
            async with http.request(method, path):
                pass
    assert {
        ("GET", "/orders/{id}", "200"): 2,
        ("GET", "/orders/{id}", "410"): 1,
        ("GET", "/orders/{id}", "500"): 1,
        ("GET", "other", "404"): 1,
        ("other", "/orders/{id}", "200"): 1,
    } == server.counts()
    assert {("GET", "/orders/{id}"): 4, ("GET", "other"): 1, ("other", "/orders/{id}"): 1} == server.timed()


async def test_streams_are_not_timed(server: Server) -> None:
    """How long somebody listens is not how long he waits."""
    async with aiohttp.ClientSession(server.url) as http, http.get("/orders/stream"):
        pass
    assert {("GET", "/orders/{id}", "200"): 1} == server.counts()
    assert {} == server.timed()


async def test_a_client_that_goes_is_told_apart(server: Server) -> None:
    """From those that are answered, and from faults."""
    async with aiohttp.ClientSession(server.url) as http:
        asking = asyncio.create_task(http.get("/orders/slow").__aenter__())
        await server.waits.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    async with asyncio.timeout(10):
        while not server.counts():
            await asyncio.sleep(0.01)
    assert {("GET", "/orders/{id}", "499"): 1} == server.counts()
