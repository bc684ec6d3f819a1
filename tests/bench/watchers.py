"""Clients that watch an order each: what an open stream of events costs, and how soon a change is there."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from decimal import Decimal

from aggregates.shop.order import LineAdded
from tests.bench.asking import connect, percentiles, read_head, request
from tests.bench.worker import Worker, say
from tests.bench.written import Written, order_id

STEPS = (200, 1_000)
SECONDS = 6.0
EVERY = 0.1
CHANGES = 20
"""Orders that change at a time, every tenth of a second."""
LATE_SECONDS = 10.0
STREAM = "text/event-stream"
LINE = LineAdded("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 1, Decimal("2.5500"))

_POSITION = re.compile(rb'(?:^id: *|"position": *")[^\s":]+-(\d+):(\d+):(\d+)')


class Watcher:
    """A client that has one order's stream open."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.delays: list[float] = []
        self.due: list[tuple[int, float]] = []
        """Commits that it is to hear of, and when each was written."""
        self.reading: asyncio.Task[None] | None = None

    async def open(self, url: str) -> None:
        """Connect, and have the row as it is."""
        reader, self._writer = await connect(url)
        self._writer.write(request(f"/orders/{order_id(self.number)}", STREAM))
        status, head = await read_head(reader)
        if status != 200 or STREAM.encode() not in head.lower():
            raise RuntimeError(f"no stream of {order_id(self.number)}: {head.decode()}")
        self.reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if found := _POSITION.search(line):
                now, nr = time.perf_counter(), int(found[2])
                # A newer row tells of all changes before it.
                self.delays += [now - at for due, at in self.due if due <= nr]
                self.due = [(due, at) for due, at in self.due if due > nr]

    def close(self) -> None:
        if self.reading is not None:
            self.reading.cancel()
            self._writer.close()


async def measure_watchers(written: Written, running: Worker, orders: int) -> list[tuple[str, float]]:
    """So many clients of one worker at once, then more, while the orders that they watch change."""
    results: list[tuple[str, float]] = []
    for count in STEPS:
        results += await _watched(written, running, count, orders)
    return results


async def _watched(written: Written, running: Worker, count: int, orders: int) -> list[tuple[str, float]]:
    watchers, memory = [Watcher(number % orders) for number in range(count)], running.memory_mb()
    try:
        for watcher in watchers:
            await watcher.open(running.url)
        opened = running.memory_mb()
        cpu = running.cpu_seconds()
        await asyncio.sleep(2.0)
        idle = (running.cpu_seconds() - cpu) / 2.0
        cpu = running.cpu_seconds()
        changes = await _change(written, watchers)
        busy = running.cpu_seconds() - cpu
        delays = [delay for watcher in watchers for delay in watcher.delays]
        missing = sum(len(watcher.due) for watcher in watchers)
        if missing:
            raise RuntimeError(f"{missing} of {changes} changes did not come to those who watch")
        p50, p99 = percentiles(delays)
        say(f"{count} watchers: a change is there after {p50:.1f} ms, p99 {p99:.1f} ms")
        return [
            (f"{count:,} watchers: from the journal to the client, ms, p50", p50),
            (f"{count:,} watchers: from the journal to the client, ms, p99", p99),
            (f"{count:,} watchers: memory of the worker before, MB", memory),
            (f"{count:,} watchers: memory of the worker with them, MB", opened),
            (f"{count:,} watchers: CPU of the worker while nothing changes, % of a core", idle * 100),
            (f"{count:,} watchers: CPU of the worker per change, microseconds", busy / changes * 1e6),
        ]
    finally:
        for watcher in watchers:
            watcher.close()


async def _change(written: Written, watchers: list[Watcher]) -> int:
    """Change some of the orders every tenth of a second, as an owner would; returns the number of deliveries due."""
    by_order: defaultdict[int, list[Watcher]] = defaultdict(list)
    for watcher in watchers:
        by_order[watcher.number].append(watcher)
    orders, deliveries = list(by_order), 0
    for step in range(int(SECONDS / EVERY)):
        next_step = asyncio.create_task(asyncio.sleep(EVERY))
        chosen = [orders[(step * CHANGES + n) % len(orders)] for n in range(CHANGES)]
        at = time.perf_counter()
        commits = await written.append((number, LINE) for number in chosen)
        for position, numbers in commits.items():
            nr = int(position.rpartition(":")[2])
            for watcher in (watcher for number in numbers for watcher in by_order[number]):
                watcher.due.append((nr, at))
                deliveries += 1
        written.hint()
        await next_step
    deadline = time.monotonic() + LATE_SECONDS
    while any(watcher.due for watcher in watchers) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return deliveries
