"""Commands over HTTP, each with its reply awaited: how many a second, and how long each took."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.asking import Asked, connect, length_of, percentiles, read_head
from tests.bench.worker import cpu_seconds, say
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS

ORDERS_OPEN = 500
WARM_UP = 1_000


async def measure_gateway(commands: int, rounds: int, clients: Sequence[int] = (1, 50)) -> list[tuple[str, float]]:
    """Rounds of `commands` by so many clients at a time, to one orders worker and one gateway; the best of each."""
    best: dict[int, Asked] = {}
    cpu = sent = 0.0
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), os.environ.get("JOURNAL_URL", "cassandra://127.0.0.1:9042/bench"))
        await system.open()
        try:
            orders, gateway = system.start(ORDERS), system.start(PROJECTIONS)
            await system.all_served(orders)
            await system.all_served(gateway)
            say(f"gateway: process {gateway.process.pid}")
            await post(gateway.url, "OpenOrder", OPEN, ORDERS_OPEN, 50)
            await post(gateway.url, "AddLine", LINE, WARM_UP, 50)
            used = cpu_seconds(gateway.process.pid)
            for number in range(rounds):
                for many in clients:
                    count = commands if many > 1 else commands // 10
                    asked = await post(gateway.url, "AddLine", LINE, count, many)
                    sent += count
                    say(f"round {number + 1}, {many} clients: {asked.rate:,.0f}/s, {asked.p50:.1f}, {asked.p99:.1f} ms")
                    best[many] = max(best.get(many, asked), asked)
            cpu = cpu_seconds(gateway.process.pid) - used
        finally:
            await system.close()
    figures = [
        figure
        for many, asked in best.items()
        for figure in (
            (f"commands/s over HTTP, {many} clients", asked.rate),
            (f"from command to reply, {many} clients, p50, ms", asked.p50),
            (f"from command to reply, {many} clients, p99, ms", asked.p99),
        )
    ]
    return [*figures, ("CPU of the gateway and its tables per command, microseconds", cpu / sent * 1e6)]


async def post(url: str, type: str, data: object, commands: int, clients: int) -> Asked:
    """Send commands to orders in turn, `clients` at a time. Raises `RuntimeError` for any answer but 200."""
    took: list[float] = []
    numbers = iter(range(commands))
    body = json.dumps({"type": type, "data": data}).encode()
    began = time.perf_counter()
    await asyncio.gather(*(_client(url, body, numbers, took) for _ in range(clients)))
    return Asked(commands / (time.perf_counter() - began), *percentiles(took))


async def _client(url: str, body: bytes, numbers: Iterator[int], took: list[float]) -> None:
    reader, writer = await connect(url)
    try:
        for number in numbers:
            began = time.perf_counter()
            writer.write(
                b"POST /orders/o%d/commands HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Prefer: wait=30\r\nContent-Length: %d\r\n\r\n%b" % (number % ORDERS_OPEN, len(body), body)
            )
            status, head = await read_head(reader)
            answer = await reader.readexactly(length_of(head))
            if status != 200:
                raise RuntimeError(f"{url} answered {status}: {answer[:500]!r}")
            took.append(time.perf_counter() - began)
    finally:
        writer.close()
