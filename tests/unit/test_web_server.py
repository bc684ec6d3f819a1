"""The bounds of the web server, on real sockets: who is slow or says nothing makes room for the others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from streams import web_server
from streams.web_server import Connections, Runner
from tests.e2e.client import eventually

MOST = 5
LARGE = 20_000_000
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Server:
    """Answers at once, or when it is let."""

    def __init__(self) -> None:
        self.connections = Connections(MOST)
        self.let = asyncio.Event()
        self.let.set()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/", self._answer)
        app.router.add_get("/large", self._large)
        self.runner = Runner(app, self.connections)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port: int = self.runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.Response:
        await self.let.wait()
        return web.Response(text="here")

    async def _large(self, request: web.Request) -> web.Response:
        return web.Response(body=b"x" * LARGE)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether a request over this connection gets its answer."""
        async with asyncio.timeout(5):
            writer.write(HEAD)
            head = await reader.read(1_000)
        return head.startswith(b"HTTP/1.1 200")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    server.let.set()
    await server.runner.cleanup()


async def test_head_in_drops(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that comes byte by byte ends with its time, however often a byte comes; the next request has it anew."""
    monkeypatch.setattr(web_server, "HEAD_SECONDS", 0.3)
    reader, writer = await server.connect()
    assert await server.answers(reader, writer)
    began = time.monotonic()
    writer.write(HEAD[:-2] + b"X: ")
    while not reader.at_eof() and time.monotonic() - began < 5:
        writer.write(b"G")
        await asyncio.sleep(0.02)
    assert 0.3 <= time.monotonic() - began < 3


async def test_kept_connections(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that waits between two requests, or whose answer takes long, is not slow."""
    monkeypatch.setattr(web_server, "HEAD_SECONDS", 0.1)
    reader, writer = await server.connect()
    assert await server.answers(reader, writer)
    await asyncio.sleep(0.3)
    server.let.clear()
    asyncio.get_running_loop().call_later(0.3, server.let.set)
    assert await server.answers(reader, writer)
    writer.close()


async def test_too_many(server: Server) -> None:
    """The oldest connection without a request gives way to a new one, one whose answer is being made does not."""
    server.let.clear()
    busy = await server.connect()
    busy[1].write(HEAD)
    idle = [await server.connect() for _ in range(3 * MOST)]
    await eventually(lambda: b"" == idle[0][0]._buffer and idle[0][0].at_eof(), 5, "the oldest is still there")
    assert len(server.connections) <= MOST
    server.let.set()
    assert await server.answers(*idle[-1])
    assert (await busy[0].read(1_000)).startswith(b"HTTP/1.1 200")
    for _, writer in idle:
        writer.close()


async def test_all_are_busy(server: Server) -> None:
    """Where all have a request, one more is closed at once, and those that are there get their answers."""
    server.let.clear()
    busy = [await server.connect() for _ in range(MOST)]
    for _, writer in busy:
        writer.write(HEAD)

    await eventually(lambda: not any(it.is_idle for it in server.connections._open), 5, "somebody has no request")
    reader, writer = await server.connect()
    assert b"" == await asyncio.wait_for(reader.read(), 5)
    writer.close()
    server.let.set()
    for reader, _ in busy:
        assert (await reader.read(1_000)).startswith(b"HTTP/1.1 200")
    await server.runner.cleanup()
    assert 0 == len(server.connections)


async def test_no_http(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Who sends what is no HTTP gets 400, and leaves no stack trace in the log."""
    caplog.set_level(logging.INFO)
    reader, writer = await server.connect()
    assert await server.answers(reader, writer)
    writer.write(b"\x16\x03\x01 / HTTP/1.1\r\n\r\n")
    assert (await reader.read(1_000)).startswith(b"HTTP/1.0 400")
    assert [(logging.INFO, None)] == [(record.levelno, record.exc_info) for record in caplog.records]


async def test_answers_that_nobody_takes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for much and reads nothing is cut off; who reads slowly gets all of it."""
    monkeypatch.setattr(web_server, "STALL_SECONDS", 0.3)
    deaf, slow = await server.connect(), await server.connect()
    for _, writer in (deaf, slow):
        writer.write(HEAD.replace(b"/ ", b"/large "))
    read, began = 0, time.monotonic()
    while read < LARGE:
        part = await slow[0].read(500_000)
        assert part, f"cut off at {read}"
        read += len(part)
        await asyncio.sleep(0.01)
    assert 0.6 < time.monotonic() - began
    await eventually(lambda: len(server.connections) == 1, 5, "the deaf one is still there")
    for _, writer in (deaf, slow):
        writer.close()
