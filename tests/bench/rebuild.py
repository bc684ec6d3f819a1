"""A table built anew beside the one that serves: how fast, and what queries notice of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.bench.asking import ask
from tests.bench.door import Door
from tests.bench.worker import Worker, say
from tests.bench.written import Written, order_id

PROJECTION = "orders"
SECONDS = 300.0
POLL = 0.1


async def measure_rebuild(written: Written, running: Worker, door: Door) -> list[tuple[str, float]]:
    """Rebuild the table of orders while it is queried. Raises `RuntimeError` when it does not come to an end."""
    paths = [f"/orders/{order_id(number)}" for number in range(1_000)]
    quiet = await ask(running.url, paths, 1, 2.0)
    before = await _tables(door)
    cpu, began = running.cpu_seconds(), time.perf_counter()
    status, body = await door.post(f"/projections/{PROJECTION}/rebuild")
    if status not in (200, 201, 202):
        raise RuntimeError(f"no rebuild: {status} {body}")
    asked = asyncio.create_task(ask(running.url, paths, 1, 2.0))
    await _built(door, set(before))
    seconds, cpu = time.perf_counter() - began, running.cpu_seconds() - cpu
    busy = await asked
    say(f"rebuild: {written.count / seconds:,.0f} events/s")
    return [
        ("rebuild beside the table that serves: events/s", written.count / seconds),
        ("rebuild: CPU per event, microseconds, queries included", cpu / written.count * 1e6),
        ("by key, meanwhile: ms, p99 / one at a time", busy.p99),
        ("by key, before: ms, p99 / one at a time", quiet.p99),
    ]


async def _tables(door: Door) -> dict[str, dict[str, Any]]:
    """The tables of the projection by their names."""
    status, body = await door.get("/projections")
    if status != 200:
        raise RuntimeError(f"/projections answered {status}: {body}")
    mine = [projection for projection in body["projections"] if projection["name"] == PROJECTION]
    return {table["table"]: table for projection in mine for table in projection["tables"]}


async def _built(door: Door, before: set[str]) -> None:
    """Return when a table that was not there before has all events."""
    deadline = time.monotonic() + SECONDS
    while True:
        new = [table for name, table in (await _tables(door)).items() if name not in before]
        if new and all(0 < table["total"] <= table["done"] for table in new):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the rebuild has no end: {new}")
        await asyncio.sleep(POLL)
