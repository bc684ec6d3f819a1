"""The broker of `sourced dev`, in a thread of its own for as long as a block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.dev.broker.server import Broker


@contextmanager
def local_broker(file: Path | str) -> Iterator[str]:
    """Its address, as `host:port`."""
    ended, runs = asyncio.Event(), threading.Event()
    found: list[str] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        broker = Broker(file)
        await broker.start()
        found.append(broker.address.removeprefix("kafka://"))
        runs.set()
        await ended.wait()
        await broker.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="broker")
    thread.start()
    try:
        assert runs.wait(20)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(20)
        loop.close()
