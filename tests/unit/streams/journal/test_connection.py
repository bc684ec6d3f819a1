"""The place where Cassandra's driver works: the event loop that uses it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from cassandra.connection import ConnectionShutdown, DefaultEndPoint

from streams.journal.cassandra.connection import OnLoop, Timer, connection_on


async def _in_a_thread(function: object, *arguments: object) -> None:
    await asyncio.to_thread(function, *arguments)  # type: ignore[arg-type]


async def test_a_call_from_the_loop() -> None:
    """It is done at once."""
    called: list[int] = []
    OnLoop.running().call(called.append, 1)
    assert [1] == called


async def test_a_call_from_another_thread() -> None:
    """It is done on the loop."""
    place, threads = OnLoop.running(), asyncio.Queue[int]()
    await _in_a_thread(place.call, lambda: threads.put_nowait(threading.get_ident()))
    async with asyncio.timeout(5):
        assert threading.get_ident() == await threads.get()


def test_a_loop_that_has_ended() -> None:
    """A call from another thread that comes too late is nobody's."""

    async def place() -> OnLoop:
        return OnLoop.running()

    late, called = asyncio.run(place()), list[int]()
    thread = threading.Thread(target=late.call, args=(called.append, 1))
    thread.start()
    thread.join(5)
    assert [] == called


async def test_a_timer() -> None:
    """It calls when its time has come, wherever it was started. One that was cancelled, in any thread, does not, and
    has let go of what it would have called."""
    place, called = OnLoop.running(), asyncio.Queue[str]()
    cancelled = [Timer(place, 0.01, lambda: called.put_nowait("cancelled")) for _ in range(2)]
    cancelled[0].cancel()
    await _in_a_thread(cancelled[1].cancel)
    await _in_a_thread(Timer, place, 0.03, lambda: called.put_nowait("from a thread"))
    async with asyncio.timeout(5):
        assert "from a thread" == await called.get()
    assert called.empty()
    assert all(timer._call is None for timer in cancelled)


async def test_a_host_that_ends_the_connection_at_once() -> None:
    """It is heard of then, and not when the time to connect is over."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    endpoint = DefaultEndPoint(*server.sockets[0].getsockname())
    began = time.monotonic()
    async with server:
        with pytest.raises(ConnectionShutdown):
            await asyncio.to_thread(connection_on(OnLoop.running()).factory, endpoint, 60.0, protocol_version=4)
    assert time.monotonic() - began < 20
