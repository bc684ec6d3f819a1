"""Streams of events on a real socket: who takes nothing is sent away, who is gone is noticed, and all can be ended."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from projections.http.forwarding import HOP, SEEN, Behind, OldTable, Tables, hop
from projections.http.problems import NotNow, problems
from projections.streaming import event_streams, sse
from projections.streaming.event_streams import EventStreams
from projections.streaming.sse import EventStream, Frame, FrameReader, read_frames
from streams.access.principal import Identified, Principal, asked_by
from tests.e2e.client import eventually

STALLED = 0.4
MOST = 3
OF_ONE = 2
BLOCK = Frame("row", "order-0:1:0", b'"%s"' % (b"x" * 50_000)).encode()

Work = Callable[[EventStream], Awaitable[None]]


class View:
    """What Faust gives to handlers: it makes answers."""

    def bytes(self, body: bytes, **options: Any) -> web.Response:
        return web.Response(body=body, **options)


class Doors:
    """What streams ask of them."""

    others = 2
    tls = None

    def hop(self, tables: Tables) -> dict[str, str]:
        return hop(tables)

    def signed(self, method: str, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        return dict(headers)

    async def raise_if_behind(self, response: aiohttp.ClientResponse) -> None:
        if SEEN in response.headers:
            raise Behind("another table answers now")


def event_streams_of(most: int, seconds: float) -> EventStreams:
    doors: Any = Doors()
    return EventStreams(doors, most, seconds, most_of_one=OF_ONE)


class Server:
    """Streams what `work` sends to whoever comes."""

    def __init__(self) -> None:
        self.streams = event_streams_of(MOST, STALLED)
        self.work: Work = quiet
        self.sent: dict[int, int] = {}
        self.handled = 0

    async def start(self) -> None:
        app = web.Application(middlewares=[problems])
        app.router.add_get("/", self._handle)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self.runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/"

    async def _handle(self, request: web.Request) -> Any:
        name, until = request.headers.get("User", ""), float(request.headers.get("Until", "inf"))
        try:
            with asked_by(Identified(Principal("oidc", name), until) if name else None):
                return await self.streams.serve(View(), request, self.work)
        finally:
            self.handled += 1

    async def stop(self) -> None:
        await self.streams.close()
        await self.runner.cleanup()


async def quiet(stream: EventStream) -> None:
    """Opens, and has nothing to say."""
    await stream.open()
    await asyncio.Event().wait()


async def loud(stream: EventStream) -> None:
    """Sends for ever."""
    await stream.open()
    while True:
        await stream.send(BLOCK)
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def deaf_client(port: int) -> socket.socket:
    """Asks, and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    return client


async def test_who_takes_nothing_is_sent_away(server: Server, http: aiohttp.ClientSession) -> None:
    """A client that reads nothing is cut off after the time that it has; one that reads is not."""
    server.work = loud
    async with http.get(server.url) as response:
        client = await deaf_client(server.port)
        began = time.monotonic()
        taken = 0
        while not server.handled:
            taken += len(await response.content.readany())
            assert time.monotonic() - began < 20
        assert STALLED < time.monotonic() - began
        assert taken > len(BLOCK)
        assert 1 == len(server.streams._clients)
        client.close()


async def test_who_is_gone_makes_room(server: Server, http: aiohttp.ClientSession, caplog: Any) -> None:
    """No more clients than there may be; one that has disconnected does not count, and nothing is logged of it."""
    responses = [await http.get(server.url) for _ in range(MOST)]
    async with http.get(server.url) as refused:
        assert (503, True) == (refused.status, "Retry-After" in refused.headers)
    async with http.get(server.url, headers={HOP: "1"}) as worker:
        assert 200 == worker.status
    responses.pop().close()

    async def room() -> bool:
        response = await http.get(server.url)
        responses.append(response)
        return bool(response.status == 200)

    await eventually(room, 5, "there is no room")
    await eventually(lambda: server.handled >= 2, 5, "the handler goes on")
    for response in responses:
        response.close()
    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_one_user_does_not_take_all(server: Server, http: aiohttp.ClientSession) -> None:
    """Of one user there are so many streams, of another as many; a worker that asks for one does not count."""
    alice, bob = {"User": "alice"}, {"User": "bob"}
    responses = [await http.get(server.url, headers=alice) for _ in range(OF_ONE)]
    async with http.get(server.url, headers=alice) as refused:
        assert (429, True) == (refused.status, "Retry-After" in refused.headers)
    for headers in ({**alice, HOP: "1"}, bob):
        async with http.get(server.url, headers=headers) as response:
            assert 200 == response.status, headers
    for response in responses:
        response.close()


async def test_a_stream_ends_with_what_says_who_its_client_is(server: Server, http: aiohttp.ClientSession) -> None:
    """A token that has expired keeps no stream open."""
    async with http.get(server.url, headers={"User": "alice", "Until": str(time.time() + 0.3)}) as response:
        assert 200 == response.status
        async with asyncio.timeout(5):
            await response.content.read()


async def test_streams_of_workers_are_bounded(server: Server, http: aiohttp.ClientSession) -> None:
    """Each other worker has as many as it may have clients; these take nothing from the clients of this one."""
    responses = [await http.get(server.url, headers={HOP: "1"}) for _ in range(2 * MOST)]
    assert [200] * len(responses) == [response.status for response in responses]
    async with http.get(server.url, headers={HOP: "1"}) as refused:
        assert (503, True) == (refused.status, "Retry-After" in refused.headers)
    async with http.get(server.url) as client:
        assert 200 == client.status
    for response in responses:
        response.close()

    async def room() -> bool:
        async with http.get(server.url, headers={HOP: "1"}) as response:
            return bool(response.status == 200)

    await eventually(room, 5, "there is no room")


async def test_all_end_at_once(server: Server, http: aiohttp.ClientSession) -> None:
    """When the worker ends, streams do, also those of clients that take nothing."""
    server.streams = event_streams_of(MOST, 60)
    response = await http.get(server.url)
    await response.content.readuntil(b"\n\n")
    server.work = loud
    client = await deaf_client(server.port)
    await eventually(lambda: any(stream._sending for stream in server.streams._clients), 5, "nothing is sent")
    await asyncio.sleep(0.2)  # buffers are full
    began = time.monotonic()
    await server.stop()
    assert time.monotonic() - began < 30
    assert b"" == await response.content.read()
    client.close()


async def test_another_table(server: Server, http: aiohttp.ClientSession) -> None:
    """A stream of a table that does not answer any more ends, after telling its client to begin anew; others go on."""

    async def of_table(stream: EventStream) -> None:
        stream.table = f"orders-{len(server.streams._clients)}"
        await quiet(stream)

    server.work = of_table
    one, two = [await http.get(server.url) for _ in range(2)]
    await two.content.readuntil(b"\n\n")
    server.streams.keep({"orders-2"})
    assert b"retry: 1000\n\nid:\n\n" == await one.content.read()
    assert ["orders-2"] == [stream.table for stream in server.streams._clients]
    two.close()


async def test_not_now(server: Server, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the worker cannot serve, clients wait; then they are told to come again, which a browser does only after
    200, not all at once. A worker gets 503 at once."""
    monkeypatch.setattr(event_streams, "HELD_SECONDS", 1.0)
    monkeypatch.setattr(event_streams, "PAUSE", (0.1, 0.2))
    tried = 0

    async def not_now(stream: EventStream) -> None:
        nonlocal tried
        tried += 1
        raise NotNow("a rebalance is under way")

    server.work = not_now
    async with http.get(server.url) as response:
        retry, _, rest = (await response.read()).partition(b"\n")
        assert (200, b"\n") == (response.status, rest)
        assert 1_000 <= int(retry.removeprefix(b"retry: ")) <= 3_000
    assert 1 < tried < 12
    before = tried
    async with http.get(server.url, headers={HOP: "1"}) as response:
        assert (503, True) == (response.status, "Retry-After" in response.headers)
    assert before + 1 == tried


async def test_who_waits_is_served(
    server: Server, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebalance does not send away who waits for its end; the end of the worker does."""
    monkeypatch.setattr(event_streams, "PAUSE", (0.05, 0.1))
    ready = False

    async def now_and_then(stream: EventStream) -> None:
        if not ready:
            raise NotNow("a rebalance is under way")
        stream.table = "orders-1"
        await quiet(stream)

    server.work = now_and_then
    asking = asyncio.create_task(http.get(server.url))
    await eventually(lambda: server.streams._clients, 5, "nobody came")
    server.streams.end()
    ready = True
    async with await asking as response:
        assert b"retry: 1000\n\n" == await response.content.readuntil(b"\n\n")
        server.streams.end()
        assert b"" == await response.content.read()
    ready = False
    asking = asyncio.create_task(http.get(server.url))
    await eventually(lambda: server.streams._clients, 5, "nobody came")
    await server.streams.close()
    async with await asking as response:
        assert 200 == response.status
    async with http.get(server.url) as response:
        assert 200 == response.status


async def test_signs_of_life(server: Server, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without events says now and then that it is alive."""
    monkeypatch.setattr(sse, "BEAT_SECONDS", 0.05)
    async with http.get(server.url) as response:
        for expected in (b"retry: 1000\n\n", b":\n\n", b":\n\n"):
            assert expected == await response.content.readuntil(b"\n\n")


async def test_an_event_that_does_not_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what another worker sends so much is kept, and then it is given up."""
    monkeypatch.setattr(sse, "MOST_EVENT", 10_000)

    async def endless(stream: EventStream) -> None:
        await stream.open()
        while True:
            await stream.send(b"x" * 1_000)

    server.work = endless
    others = event_streams_of(MOST, STALLED)

    async def read() -> None:
        async with others.of_worker(server.url, {"orders": "orders-1"}, {}) as response:
            await FrameReader(response.content).read()

    with pytest.raises(NotNow):
        await read()
    await others.close()


async def test_another_workers_stream(server: Server) -> None:
    """What a worker streams is read event by event, however it is cut; when it ends or cannot be had, so it is said."""
    frames = [Frame("row", f"order-0:{number}:0", b'{"id": "a: b"}') for number in range(50)]

    async def cut(stream: EventStream) -> None:
        await stream.open()
        text = b":\n\n".join(frame.encode() for frame in frames) + b"id: cut off"
        for start in range(0, len(text), 7):
            await stream.send(text[start : start + 7])
            await asyncio.sleep(0)

    server.work = cut
    others = event_streams_of(MOST, STALLED)
    async with others.of_worker(server.url, {"orders": "orders-1"}, {"Last-Event-ID": "order-0:0:0"}) as response:
        reader, found = FrameReader(response.content), list[Frame]()
        while events := await reader.read():
            assert events.endswith(b"\n\n")
            found += read_frames(events)
    assert frames == found

    async def old_table(stream: EventStream) -> None:
        raise OldTable("orders-1: there is a newer one", 7)

    server.work = old_table
    with pytest.raises(Behind):
        async with others.of_worker(server.url, {"orders": "orders-1"}, {}):
            pass
    await server.stop()
    with pytest.raises(NotNow):
        async with others.of_worker(server.url, {"orders": "orders-1"}, {}):
            pass
    await others.close()
