"""Many aggregates: the memory of a worker while they pass through it, and the latency of commands to some of a thousand
and of a million, warm and cold.

Half of the million stand in the journal before, as a former owner has written them. The others are opened through the
worker, twice as many as its cache holds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from streams.cli.progress import Meter
from streams.settings import Settings
from tests.bench.cassandra import cassandra
from tests.bench.flat.asking import asker
from tests.bench.flat.plots import Line, Panel, plot
from tests.bench.load import Load, ids
from tests.bench.opened import write_opened
from tests.bench.space import space
from tests.bench.timed import at
from tests.bench.worker import Worker
from tests.e2e.worker import free_port

FEW, MANY = 1_000, 1_000_000
"""With so many the cache has its default size, with fewer a smaller one: it holds a fifth of them."""
ORDER_BYTES = 1_450
"""What the cache counts for an order with one event."""
LOOKS = 25
"""At the memory, while orders are opened."""
KINDS = ("cold", "warm")
PER_SECOND = 200
ASKED, WARM_UP = 1_000, 200
"""Commands of each kind: 5 s of them. And those before, that do not count: a worker that has just started has to find
its way to the replies."""


class Latency(NamedTuple):
    """Of commands to orders of a `kind`, among so many: the seconds of each, ascending, and the processor time that it
    took the worker, microseconds."""

    kind: str
    orders: int
    seconds: list[float]
    cost: float


async def measure_crowd(many: int, memory_file: Path, latency_file: Path) -> list[tuple[str, float]]:
    """A worker with 1,000 orders, and one with `many` in the end; the figures, and two plots."""
    most = Settings.cache_bytes * many // MANY
    _, latencies = await _crowd(FEW, 0, most)
    memory, more = await _crowd(many // 2, many // 2, most)
    latencies += more
    _draw_memory(memory, most, memory_file)
    _draw_latency(latencies, latency_file)
    return [*_memory_figures(memory, most), *(figure for it in latencies for figure in _latency_figures(it))]


async def _crowd(written: int, opened: int, most: int) -> tuple[list[tuple[int, float]], list[Latency]]:
    """So many orders are in the journal, and so many are opened through a worker: its memory, and the latency of
    commands to some of those that it did not open."""
    async with space(CACHE_BYTES=str(most)) as here, cassandra() as store:
        with Meter("a crowd: orders in the journal", written, "orders") as meter:
            await write_opened(here.settings, ids(range(written)), meter.advance)
        with here.worker(port=free_port()) as running:
            await here.all_served(running)
            load = Load(here.settings, 0, [running])
            async with load.clients():
                memory = await _open(load, running, range(written, written + opened))
            async with asker(here.settings) as client:
                await store.rests()
                new = range(written + opened, written + opened + WARM_UP)
                await client.opened(ids(new), PER_SECOND)
                chosen = ids(random.sample(range(written), ASKED))
                latencies = []
                for kind in KINDS:  # what was cold is warm the second time
                    used = running.cpu_seconds()
                    seconds = await client.lines(chosen, PER_SECOND)
                    cost = (running.cpu_seconds() - used) / ASKED * 1e6
                    latencies.append(Latency(kind, written + opened, seconds, cost))
    return memory, latencies


async def _open(load: Load, running: Worker, numbers: range) -> list[tuple[int, float]]:
    """Open these orders; how many the worker has opened, and its memory in MB, again and again."""
    memory = [(0, running.memory_mb())]
    step = max(1, len(numbers) // LOOKS)
    with Meter("a crowd: opening orders", len(numbers), "orders") as meter:
        for first in range(0, len(numbers), step):
            some = numbers[first : first + step]
            await load.open(ids(some))
            meter.advance(len(some))
            memory.append((meter.done, running.memory_mb()))
    return memory


def _memory_figures(memory: Sequence[tuple[int, float]], most: int) -> list[tuple[str, float]]:
    # An order that is opened weighs 2: itself, and the id of the command.
    full = [megabytes for orders, megabytes in memory if orders * ORDER_BYTES >= most]
    figures = [("memory of a worker that has just started, MB", memory[0][1])]
    if full:
        figures += [
            (f"memory when the cache is full ({most // ORDER_BYTES:,} orders), MB", full[0]),
            ("memory while it was full, the most, MB", max(full)),
        ]
    return [*figures, (f"memory after it has opened {memory[-1][0]:,}, MB", memory[-1][1])]


def _latency_figures(it: Latency) -> list[tuple[str, float]]:
    what = f"{it.orders:,} orders, {it.kind} ones, {PER_SECOND}/s"
    return [
        (f"{what}: ms to the reply, median", _share(it.seconds, 0.5)),
        (f"{what}: ms to the reply, 99 %", _share(it.seconds, 0.99)),
        (f"{what}: CPU of the worker per command, us", it.cost),
    ]


def _share(seconds: Sequence[float], share: float) -> float:
    return at(seconds, share) * 1e3


def _draw_memory(memory: Sequence[tuple[int, float]], most: int, file: Path) -> None:
    orders, megabytes = zip(*memory, strict=True)
    full = f"the cache is full ({most // ORDER_BYTES:,} orders)"
    panel = Panel("resident memory, MB", [Line("one worker", orders, megabytes)], (most / ORDER_BYTES, full))
    plot(
        file,
        "Memory of a worker through which ever new orders pass",
        "orders that it has opened",
        [panel],
        logarithmic=False,
    )


def _draw_latency(latencies: Sequence[Latency], file: Path) -> None:
    lines = []
    for kind in KINDS:
        mine = [it for it in latencies if it.kind == kind]
        x = [it.orders for it in mine]
        for name, share in (("median", 0.5), ("99 %", 0.99)):
            lines.append(Line(f"{kind}: {name}", x, [_share(it.seconds, share) for it in mine]))
    plot(
        file, f"From command to reply at {PER_SECOND} commands a second", "orders that there are", [Panel("ms", lines)]
    )
