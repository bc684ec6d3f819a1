"""The bounds of the web server, on real sockets: who is slow or says nothing makes room for the others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import pytest_asyncio
from aiohttp import web

from streams.runtime import web_server
from streams.runtime.web_server import OpenConnections, Runner, cancelled_with_client, most_connections, most_outgoing
from tests.e2e.client import eventually

MOST = 5
MEDIUM, LARGE = 150_000, 20_000_000
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Server:
    """Answers at once, or when it is let."""

    def __init__(self, most: int = MOST, most_of_one: int = 16_384) -> None:
        self.connections = OpenConnections(most, most_of_one)
        self.let = asyncio.Event()
        self.let.set()
        self.waiting = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/", self._answer)
        app.router.add_get("/large", self._large)
        app.router.add_get("/medium", self._medium)
        app.router.add_get("/wait", self._wait)
        self.runner = Runner(app, self.connections)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port: int = self.runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.Response:
        await self.let.wait()
        return web.Response(text="here")

    async def _large(self, request: web.Request) -> web.Response:
        return web.Response(body=b"x" * LARGE)

    async def _medium(self, request: web.Request) -> web.Response:
        return web.Response(body=b"x" * MEDIUM)

    async def _wait(self, request: web.Request) -> web.Response:
        self.waiting += 1
        try:
            with cancelled_with_client(request):
                await asyncio.sleep(60)
        finally:
            self.waiting -= 1
        return web.Response()

    async def deaf(self, last: bytes = HEAD) -> asyncio.StreamWriter:
        """A client that asks for more than its sockets hold, and takes nothing of it."""
        _, writer = await self.connect()
        writer.transport.pause_reading()
        writer.write(100 * HEAD.replace(b"/ ", b"/medium ") + last)
        return writer

    def _connected(self) -> list[asyncio.Transport]:
        return [it.transport for it in self.connections._open if it.transport is not None]

    @property
    def stuck(self) -> int:
        """How many connections have something unsent."""
        return sum(it.get_write_buffer_size() > 0 for it in self._connected())

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


@pytest.mark.parametrize(
    ("head", "detail"),
    [
        (b"GET /?who=" + 9_000 * b"x" + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"is too long"),
        (HEAD[:-2] + b"X: " + 9_000 * b"x" + b"\r\n\r\n", b"is too long"),
        (HEAD[:-2] + b"no header\r\n\r\n", b"cannot be read as HTTP"),
    ],
)
async def test_what_aiohttp_cannot_read(server: Server, head: bytes, detail: bytes) -> None:
    """It is a problem as any other, which says what is wrong and repeats nothing of it; and the connection ends."""
    reader, writer = await server.connect()
    writer.write(head)
    async with asyncio.timeout(20):
        answer = await reader.read()
    assert b" 400 Bad Request\r\n" in answer
    assert b"Content-Type: application/problem+json" in answer
    assert detail in answer
    assert b"xxxx" not in answer


async def test_head_in_drops(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that comes byte by byte ends with its time, however often a byte comes; the next request has it anew."""
    monkeypatch.setattr(web_server, "HEAD_SECONDS", 0.3)
    reader, writer = await server.connect()
    assert await server.answers(reader, writer)
    began = time.monotonic()
    writer.write(HEAD[:-2] + b"X: ")
    ended = asyncio.create_task(reader.read())
    while not ended.done() and time.monotonic() - began < 20:
        writer.write(b"G")
        await asyncio.sleep(0.02)
    assert 0.3 <= time.monotonic() - began < 20
    # Where a byte meets a connection that has just ended, the system says that in another way than by an end of file.
    [answer] = await asyncio.gather(ended, return_exceptions=True)
    assert b"" == answer or isinstance(answer, ConnectionError)


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


@pytest.mark.parametrize("last", [HEAD, HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
async def test_little_that_nobody_takes(server: Server, monkeypatch: pytest.MonkeyPatch, last: bytes) -> None:
    """Who takes nothing at all is cut off, however little it is."""
    monkeypatch.setattr(web_server, "STALL_SECONDS", 0.3)
    deaf = [await server.deaf(last) for _ in range(MOST)]
    await eventually(lambda: server.stuck == MOST, 5, "they take it")
    await eventually(lambda: len(server.connections) == 0, 5, "the deaf ones are still there")
    assert await server.answers(*(await server.connect()))
    for writer in deaf:
        writer.close()


async def test_small_answers_that_nobody_takes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of small answers, too, none is done with before its client takes it: so the last of them is watched."""
    monkeypatch.setattr(web_server, "STALL_SECONDS", 0.3)
    _, writer = await server.connect()
    writer.transport.pause_reading()
    await eventually(lambda: len(server.connections._open) == 1, 5, "it is not there")
    [connection] = server.connections._open
    transport = connection.transport
    assert transport is not None
    for _ in range(2_000):  # until some, and less than 64 KB, is left
        if transport.get_write_buffer_size():
            break
        writer.write(400 * HEAD)
        await asyncio.sleep(0.01)
    assert 0 < transport.get_write_buffer_size() < 64 * 1024
    assert not connection.is_idle
    await eventually(lambda: len(server.connections) == 0, 5, "the deaf one is still there")
    writer.close()


async def test_who_takes_nothing_gives_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all have a request, the one that has taken nothing for longest gives way to a new one, before its time is
    up; one that reads slowly does not."""
    monkeypatch.setattr(web_server, "STALL_SECONDS", 3.0)
    slow = await server.connect()
    slow[1].write(HEAD.replace(b"/ ", b"/large "))
    reading = asyncio.create_task(_read_slowly(slow[0]))
    deaf = [await server.deaf() for _ in range(MOST - 1)]
    await eventually(lambda: len(server.connections.stalled) == MOST - 1, 5, "they take it")
    new = await server.connect()
    assert await server.answers(*new)
    assert MOST == len(server.connections)
    assert not reading.done()
    reading.cancel()
    for writer in (slow[1], new[1], *deaf):
        writer.close()


async def _read_slowly(reader: asyncio.StreamReader) -> None:
    while await reader.read(50_000):
        await asyncio.sleep(0.05)


async def test_idle_ones_are_known(server: Server) -> None:
    """Who has no request is known at any time without looking at all connections, the oldest first."""

    def idle() -> list[web_server.Connection]:
        return [it for it in server.connections._open if it.is_idle]

    def known() -> bool:
        return list(server.connections.idle) == idle()

    first, second = await server.connect(), await server.connect()
    await eventually(lambda: known() and len(idle()) == 2, 5, "two are idle")
    server.let.clear()
    second[1].write(HEAD)
    await eventually(lambda: known() and len(idle()) == 1, 5, "one is idle")
    server.let.set()
    await second[0].read(1_000)
    await eventually(lambda: known() and len(idle()) == 2, 5, "two are idle again")
    for _, writer in (first, second):
        writer.close()
    await eventually(lambda: known() and not idle(), 5, "none is left")


async def test_nobody_waits_for_one_who_has_gone(server: Server) -> None:
    """What a client waits for is given up when it disconnects."""
    _, writer = await server.connect()
    writer.write(HEAD.replace(b"/ ", b"/wait "))
    await eventually(lambda: server.waiting == 1, 5, "it does not wait")
    writer.close()
    await eventually(lambda: server.waiting == 0, 5, "it waits on")


@pytest.mark.parametrize("soft", [64, 1_024, 4_096, 65_536])
def test_all_files_together(soft: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in and what goes out leave some files for servers and tables."""
    monkeypatch.setattr(web_server.resource, "getrlimit", lambda which: (soft, soft))
    assert 0 < most_outgoing() <= soft - most_connections() - soft // 8


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("127.0.0.2", ""),
        ("::ffff:127.0.0.1", ""),
        ("::1", ""),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(peer: str, counted: str) -> None:
    """Of IPv6 a network of 64 bits, which is the least that one customer has; in either form the same of IPv4."""
    transport = SimpleNamespace(get_extra_info=lambda name: (peer, 1, 0, 0) if peer else None)
    assert counted == web_server._address_of(transport)  # type: ignore[arg-type]


async def test_one_address_does_not_take_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more connections than one address may have, its oldest without a request gives way, else the new one; those of
    others, and of this machine, do not count."""
    addresses = iter(["10.0.0.5"] * 4 + ["10.0.0.6"] + ["10.0.0.5"] * 4)
    monkeypatch.setattr(web_server, "_address_of", lambda transport: next(addresses))
    server = Server(most=100, most_of_one=3)
    await server.start()
    try:
        streams = [await server.connect() for _ in range(5)]
        await eventually(lambda: 4 == len(server.connections), 5, "one has given way")
        assert b"" == await asyncio.wait_for(streams[0][0].read(), 5)
        for stream in streams[1:]:
            assert await server.answers(*stream)
        server.let.clear()
        for _, writer in streams[1:4]:
            writer.write(HEAD)
        await eventually(lambda: not server.connections.idle or 1 == len(server.connections.idle), 5, "three work")
        reader, _ = await server.connect()
        assert b"" == await asyncio.wait_for(reader.read(), 5)
        assert 4 == len(server.connections)
        server.let.set()
        for _, writer in streams:
            writer.close()
        await eventually(lambda: not server.connections._by_address, 5, "nothing is kept of those that have gone")
    finally:
        server.let.set()
        await server.runner.cleanup()
