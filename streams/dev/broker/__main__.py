"""`python -m streams.dev.broker FILE [PORT]`: the broker alone, until Ctrl-C; it says where it listens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import Any

from streams.dev.broker.server import Broker


async def main(file: str, port: int) -> None:
    broker, ended = Broker(file, port), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await broker.start()
    print(broker.address, flush=True)
    try:
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(ended.wait()), broker.failed]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await broker.stop()
    if broker.failed.done():
        broker.failed.result()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
