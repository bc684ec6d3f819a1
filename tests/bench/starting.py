"""How long a worker takes from the start of its process until it is ready, and until it answers what waits for it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict

from tests.bench.commands import PEKKO
from tests.bench.load import Load
from tests.bench.report import Row
from tests.bench.rivals.pekko import pekko
from tests.bench.space import Space, space
from tests.bench.worker import Worker, say
from tests.e2e.worker import free_port

ORDERS = 5_000


async def measure_starting(count: int, rounds: int) -> list[Row]:
    """With nothing there, with empty topics and tables, and with a log of `count` events; Pekko until its first answer,
    with nothing there."""
    ready: defaultdict[str, list[float]] = defaultdict(list)
    answered: defaultdict[str, list[float]] = defaultdict(list)
    theirs: list[float] = []

    def note(kind: str, seconds: float, first: float | None = None) -> None:
        ready[kind].append(seconds)
        if first is not None:
            answered[kind].append(first)
        say(f"start, {kind}: {seconds:.2f} s" + (f", first answer after {first:.2f} s" if first else ""))

    for _ in range(rounds):
        async with space() as here:
            load = Load(here.settings, 1)
            began = time.perf_counter()
            with here.worker(port=free_port()) as running:
                await here.all_served(running)
                note("topics and tables are made", time.perf_counter() - began)
            async with load.clients():
                note("an empty log", *await _started(here, load))
        began = time.perf_counter()
        async with pekko() as rival:
            await rival.round(1, 1, 1)
            theirs.append(time.perf_counter() - began)
    async with space() as here:
        load = Load(here.settings, ORDERS)
        async with load.clients():
            with here.worker(port=free_port()) as running:
                await here.all_served(running)
                await _fill(load, running, count)
            for _ in range(rounds):
                note(f"a log of {count:,} events", *await _started(here, load))
    rows = [Row(f"start to ready, s: {kind}", seconds) for kind, seconds in ready.items()]
    for kind, seconds in answered.items():
        rows.append(Row(f"start to the first answer, s: {kind}", seconds, PEKKO, theirs, less=True))
    return rows


async def _fill(load: Load, running: Worker, count: int) -> None:
    load.workers = [running]
    await load.open()
    await load.round(count - ORDERS)
    load.workers = []


async def _started(here: Space, load: Load) -> tuple[float, float]:
    """Seconds until a worker is ready, and until it has answered a command that was sent at its start."""
    began = time.perf_counter()
    with here.worker(port=free_port()) as running:
        first, ready = await asyncio.gather(load.round(1), _ready(here, running))
        return ready - began, first.replied


async def _ready(here: Space, running: Worker) -> float:
    await here.all_served(running)
    return time.perf_counter()
