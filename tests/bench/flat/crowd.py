"""Many aggregates: the memory of a worker while they pass through it, and the latency of commands to some of a thousand
and of a million, warm and cold.

Half of the million are opened through the worker, twice as many as its cache holds. The rows by aggregate of the other
half are written by the journal's own `index` as an owner has it do behind its commits; the log does not have them, and
nobody reads it for a command.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from aggregates.shop.order import OrderOpened, order
from streams.command_app import Context
from streams.journal import Commit, RecordedEvent
from streams.progress import Meter
from streams.settings import Settings
from tests.bench.flat.asking import Asker, asker
from tests.bench.flat.plots import Line, Panel, plot
from tests.bench.load import Load
from tests.bench.space import space
from tests.bench.worker import Worker
from tests.e2e.worker import free_port

FEW = 1_000
LOOKS = 25
"""At the memory, while orders are opened."""
GROUP = 500
MANY = 1_000_000
"""With so many, the cache has its default size, and less with fewer: the worker meets four times what it can hold."""
PER_SECOND = 200
ASKED = 1_000
"""Commands of each kind: 5 s of them."""

Latency = tuple[str, int, list[float]]
"""Which, among how many orders, and the seconds of each command, ascending."""


async def measure_crowd(many: int, memory_file: Path, latency_file: Path) -> list[tuple[str, float]]:
    """A worker, and `many` orders in the end; the figures, and two plots."""
    latencies: list[Latency] = []
    weight = Settings.cache_weight * many // MANY
    async with space(CACHE_WEIGHT=str(weight)) as here:
        load = Load(here.settings, 0)
        async with load.clients():
            with here.worker(port=free_port()) as running:
                await here.all_served(running)
                load.workers = [running]
                await _open(load, range(FEW))
            # A new one has an empty cache: all orders are cold.
            with here.worker(port=free_port()) as running:
                await here.all_served(running)
                load.workers = [running]
                async with asker(here.settings) as client:
                    latencies += await _latencies(client, FEW, FEW)
                    await _seed(here.settings, range(FEW, many // 2))
                    memory = await _fill(load, running, range(many // 2, many))
                    # The cache has the newest; these are of the older half.
                    latencies += await _latencies(client, many, many // 2)
    _draw_memory(memory, weight, memory_file)
    _draw_latency(latencies, latency_file)
    return [*_memory_figures(memory, weight), *(f for it in latencies for f in _latency_figures(it))]


async def _open(load: Load, numbers: range) -> None:
    load.orders = [f"o{number}" for number in numbers]
    await load.open()


async def _seed(settings: Settings, numbers: range) -> None:
    """Write the rows by aggregate of so many orders that have been opened."""
    context = Context("orders", order, settings, "shop")
    journal, moment = context.journal(), datetime.now(UTC)
    data = context.events.encode(OrderOpened("u", "sale", "United Kingdom", moment))
    await journal.open()
    with Meter("a crowd: writing rows of orders", len(numbers), "orders") as meter:
        for first in range(numbers.start, numbers.stop, GROUP):
            some, nr = range(first, min(first + GROUP, numbers.stop)), first // GROUP + 1
            events = (RecordedEvent(f"o{n}", 1, "OrderOpened", data, f"{n:032x}", f"{n:032x}") for n in some)
            await journal.index([Commit("order-0", nr, 1, "bench", "t", nr, nr - 1, nr, moment, tuple(events))])
            meter.advance(len(some))
    await journal.close()


async def _fill(load: Load, running: Worker, numbers: range) -> list[tuple[int, float]]:
    """Open these orders; how many the worker has had, and its memory in MB, again and again."""
    memory = [(FEW, running.memory_mb())]
    with Meter("a crowd: opening orders", len(numbers), "orders") as meter:
        step = max(1, len(numbers) // LOOKS)
        for first in range(numbers.start, numbers.stop, step):
            some = range(first, min(first + step, numbers.stop))
            await _open(load, some)
            meter.advance(len(some))
            memory.append((FEW + meter.done, running.memory_mb()))
    return memory


async def _latencies(client: Asker, orders: int, oldest: int) -> list[Latency]:
    """To some of the `oldest` orders of so many, first as they are, cold, and then again."""
    chosen = [f"o{number}" for number in random.sample(range(oldest), ASKED)]
    cold = await client.lines(chosen, PER_SECOND)
    return [("cold", orders, cold), ("warm", orders, await client.lines(chosen, PER_SECOND))]


def _memory_figures(memory: Sequence[tuple[int, float]], weight: int) -> list[tuple[str, float]]:
    # An order that is opened weighs 2: itself, and the id of the command.
    full = [megabytes for orders, megabytes in memory if orders * 2 >= weight]
    figures = [("memory of a worker with 1,000 orders, MB", memory[0][1])]
    if full:
        figures += [
            (f"memory when the cache is full ({weight // 2:,} orders), MB", full[0]),
            ("memory while it was full, the most, MB", max(full)),
        ]
    return [*figures, (f"memory after {memory[-1][0]:,} orders, MB", memory[-1][1])]


def _latency_figures(it: Latency) -> list[tuple[str, float]]:
    kind, orders, seconds = it
    what = f"{orders:,} orders, {kind} ones, {PER_SECOND}/s: ms to the reply"
    return [(f"{what}, median", _share(seconds, 0.5)), (f"{what}, 99 %", _share(seconds, 0.99))]


def _share(seconds: Sequence[float], share: float) -> float:
    return seconds[int(len(seconds) * share)] * 1e3


def _draw_memory(memory: Sequence[tuple[int, float]], weight: int, file: Path) -> None:
    orders, megabytes = zip(*memory, strict=True)
    full = f"the cache is full ({weight // 2:,} orders)"
    panel = Panel("resident memory, MB", [Line("one worker", orders, megabytes)], (weight / 2, full))
    plot(
        file,
        "Memory of a worker through which ever new orders pass",
        "orders that it has opened",
        [panel],
        logarithmic=False,
    )


def _draw_latency(latencies: Sequence[Latency], file: Path) -> None:
    lines = []
    for kind in ("cold", "warm"):
        mine = [(orders, seconds) for which, orders, seconds in latencies if which == kind]
        x = [orders for orders, _ in mine]
        for name, share in (("median", 0.5), ("99 %", 0.99)):
            lines.append(Line(f"{kind}: {name}", x, [_share(seconds, share) for _, seconds in mine]))
    plot(
        file, f"From command to reply at {PER_SECOND} commands a second", "orders that there are", [Panel("ms", lines)]
    )
