"""A table built anew beside the one that serves: how fast, and what queries notice of it."""

from __future__ import annotations

import asyncio
import time

from tests.bench.asking import ask
from tests.bench.door import Door
from tests.bench.worker import Worker, say
from tests.bench.written import Written, order_id

PROJECTION = "orders"
ORDERS = 1_000
SECONDS, QUERY_SECONDS, LOOK_SECONDS = 300.0, 2.0, 0.1


async def measure_rebuild(written: Written, running: Worker, door: Door) -> list[tuple[str, float]]:
    """Rebuild the table of orders while it is queried, until the new one answers."""
    paths = [f"/orders/{order_id(number)}" for number in range(ORDERS)]
    quiet = await ask(running.url, paths, 1, QUERY_SECONDS)
    cpu, began = running.cpu_seconds(), time.perf_counter()
    status, told = await door.post(f"/projections/{PROJECTION}/rebuild")
    if status != 202:
        raise RuntimeError(f"no rebuild: {status} {told}")
    asked = asyncio.create_task(ask(running.url, paths, 1, QUERY_SECONDS))
    try:
        await _serves(door, told["table"])
        seconds, cpu = time.perf_counter() - began, running.cpu_seconds() - cpu
        busy = await asked
    finally:
        asked.cancel()
    say(f"rebuild: {written.count / seconds:,.0f} events/s")
    return [
        ("rebuild beside the table that serves: events/s, until the new one does", written.count / seconds),
        ("rebuild: CPU per event, microseconds, some queries included", cpu / written.count * 1e6),
        ("by key, meanwhile: ms, p50 / one at a time", busy.p50),
        ("by key, meanwhile: ms, p99 / one at a time", busy.p99),
        ("by key, before: ms, p50 / one at a time", quiet.p50),
        ("by key, before: ms, p99 / one at a time", quiet.p99),
    ]


async def _serves(door: Door, table: str) -> None:
    """Return when this table answers. Raises `RuntimeError` when that does not come about."""
    deadline = time.monotonic() + SECONDS
    while True:
        status, projection = await door.get(f"/projections/{PROJECTION}")
        if status == 200 and projection["serving"] == table:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{table} does not answer: {status} {projection}")
        await asyncio.sleep(LOOK_SECONDS)
