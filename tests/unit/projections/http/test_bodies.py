"""What a client sends is read within bounds, on a real socket: how much, how long, and what has come alone counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from projections.http import bodies
from projections.http.bodies import BodyBytes, read_body, read_bytes
from projections.http.problems import HttpProblem

Work = Callable[[web.Request], Awaitable[Any]]


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """An order."""

    again: bool = False


class Server:
    """Reads bodies in the way of a test; says what it has read, or with which status it was refused."""

    def __init__(self) -> None:
        self.work: Work = self._order
        self.in_work = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/", self._handle)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port: int = self.runner.addresses[0][1]

    async def _order(self, request: web.Request) -> Any:
        return (await read_body(request, Order)).again

    async def _handle(self, request: web.Request) -> web.Response:
        self.in_work += 1
        try:
            return web.Response(text=str(await self.work(request)))
        except HttpProblem as error:
            return web.Response(text=str(error), status=error.status)
        finally:
            self.in_work -= 1

    async def send(self, body: bytes, *headers: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send the head of a request, and some of its body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s" % (b"".join(headers), body))
        return reader, writer

    async def answer(self, reader: asyncio.StreamReader) -> tuple[int, str]:
        async with asyncio.timeout(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length:")[2].split()[0])
            return int(head.split()[1]), (await reader.readexactly(length)).decode()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.runner.cleanup()


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n" % size


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"again": true}', 200, "True"),
        (b"", 200, "False"),
        (b" ", 200, "False"),
        (b"[]", 422, "object"),
        (b'{"again": 1}', 422, "$.again"),
        (b'{"agian": true}', 422, "agian"),
        (b"{", 400, "JSON"),
        (b"\xff", 400, "JSON"),
        (b'{"more":' + b"[" * 8_000, 422, "more"),
        (b"[" * 8_000, 422, "object"),
        (b" " * 16_385, 413, "16384"),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_orders(server: Server, body: bytes, status: int, says: str) -> None:
    """What is wrong with an order is said, whatever it is."""
    reader, writer = await server.send(body, length(len(body)))
    answered, text = await server.answer(reader)
    assert status == answered, text
    assert says in text
    writer.close()


async def test_slow_orders(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order whose body does not come, or byte by byte, is given up in its time."""
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    began = time.monotonic()
    silent = await server.send(b"", length(20))
    slow = await server.send(b'{"again', length(100_00))
    for _ in range(10):
        slow[1].write(b" ")
        await asyncio.sleep(0.02)
    for reader, writer in (silent, slow):
        assert (408, "the body did not come within 0.3 s") == await server.answer(reader)
        writer.close()
    assert 0.3 <= time.monotonic() - began < 3


async def test_slow_senders_are_in_nobodys_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is taken for what has come, not for what was announced: hundreds who announce much and send nothing leave
    all of it to others; and what was taken is given back, whatever becomes of the request."""
    most = 10_000
    reserved = BodyBytes(most)

    async def read(request: web.Request) -> int:
        with reserved.of_request() as some:
            return len(await read_bytes(request, 5_000, some))

    server.work = read
    silent = [await server.send(b"x", length(5_000)) for _ in range(300)]
    chunked = await server.send(b"3\r\nabc\r\n", b"Transfer-Encoding: chunked\r\n")
    async with asyncio.timeout(5):
        while server.in_work < 301 or reserved.size < 303:
            await asyncio.sleep(0.01)
    assert 303 == reserved.size
    reader, writer = await server.send(b"y" * 5_000, length(5_000))
    assert (200, "5000") == await server.answer(reader)
    for _, its in [*silent, chunked, (reader, writer)]:
        its.close()
    async with asyncio.timeout(5):
        while reserved.size:
            await asyncio.sleep(0.01)
    assert 0 == server.in_work


async def test_no_room(server: Server) -> None:
    """Where there is no room for more, a request is refused, and takes none."""
    reserved = BodyBytes(100)

    async def read(request: web.Request) -> int:
        with reserved.of_request() as some:
            return len(await read_bytes(request, 1_000, some))

    server.work = read
    reader, writer = await server.send(b"y" * 101, length(101))
    status, text = await server.answer(reader)
    assert (503, 0) == (status, reserved.size), text
    reader, writer = await server.send(b"y" * 2_000, length(2_000))
    assert 413 == (await server.answer(reader))[0]
    writer.close()
