"""The read side, worker by worker: events to rows beside a stock Faust table of the same events, in the same run."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient

from streams.settings import Settings
from tests.bench.door import Door
from tests.bench.log_dirs import bytes_of_topics
from tests.bench.queries import measure_queries
from tests.bench.rebuild import measure_rebuild
from tests.bench.report import Figure, Row
from tests.bench.space import Space
from tests.bench.watchers import measure_watchers
from tests.bench.worker import START_SECONDS, Worker, delete_topics, say
from tests.bench.written import Written, one_by_one
from tests.e2e.worker import free_port
from tests.stores import drop_journals

STOCK, ORDERS_ONLY, SHOP = "tests.bench.stock_table", "tests.bench.orders_only", "projections.shop.app"
COUNTED = "tests.bench.counted"
PARTS = ("apply", "queries", "watchers", "rebuild", "rows")
LARGE_SECONDS = 600.0
STOCK_EVENTS = 20_000
"""Its rate does not hang on how many there are, and it takes long for all of ours."""
FEWER = 10
OF_A_TYPE = ("-commands", "-commits", "-events", "-dead-letters")

Results = list[Row | Figure]


@dataclass(frozen=True)
class Sizes:
    """What is measured, and with how much: `events` over `orders` orders (uniform) or `hot` ones, `rows` for memory."""

    events: int
    orders: int
    hot: int
    rows: int
    rounds: int
    parts: Sequence[str] = PARTS


class Applied(NamedTuple):
    """Events a second, and microseconds of the worker's processor time for each."""

    rate: float
    cpu: float


class Bench:
    """A namespace with orders that are written and published, and a place for workers that read them."""

    def __init__(self, written: Written, folder: Path, environment: dict[str, str]) -> None:
        self.written = written
        self._space = Space(environment, folder)

    def folder(self) -> Path:
        """A new one, for the files of a worker."""
        return self._space.folder()

    @contextlib.asynccontextmanager
    async def worker(self, module: str, folder: Path, **settings: str) -> AsyncIterator[Worker]:
        """A worker with its files in `folder`."""
        with self._space.worker(module, folder, free_port(), **settings) as running:
            try:
                yield running
            except Exception:
                say(f"the log of {module} ends so:\n{running.tail()}")
                raise

    async def changelogs(self) -> int:
        """Bytes of all changelogs on the brokers' disks."""
        settings = self.written.settings
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
        await admin.start()
        names = [n for n in await admin.list_topics() if n.startswith(settings.namespace) and n.endswith("-changelog")]
        await admin.close()
        return sum((await bytes_of_topics(settings.bootstrap_servers, names, settings.partitions)).values())

    async def forget_tables(self) -> None:
        """Delete all that workers of the read side have put on the servers, so that the next begins with nothing."""
        settings = self.written.settings
        name = settings.namespace
        await delete_topics(settings, lambda it: it.startswith(name) and not it.endswith(OF_A_TYPE))
        await drop_journals(settings.read_model_url or settings.journal_url, name, only="read_model")


@contextlib.asynccontextmanager
async def _bench(orders: int, events: int) -> AsyncIterator[tuple[Bench, Results]]:
    """The bench, and how fast its events were published."""
    namespace = f"bench{uuid.uuid4().hex[:6]}_"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NAMESPACE": namespace, "PARTITIONS": os.environ.get("PARTITIONS", "8")}
        settings = Settings.from_environment(environment, database="shop")
        written = Written(settings)
        try:
            async with written.open():
                await written.append(one_by_one(orders, events))
                tailed = await written.publish()
                say(f"{written.count:,} events of {orders:,} orders: published {tailed.rate:,.0f}/s")
                figures = [
                    ("tailer: events/s, journal to events topic", tailed.rate),
                    ("tailer: CPU per event, microseconds", tailed.cpu),
                ]
                yield Bench(written, Path(folder), environment), figures
        finally:
            await delete_topics(settings, lambda name: name.startswith(namespace))
            for url in {settings.journal_url, settings.read_model_url or settings.journal_url}:
                await drop_journals(url, namespace)


async def measure_tables(sizes: Sizes) -> Results:
    """All that `sizes.parts` names. A part that fails is not a number (`nan`), and the others go on."""
    results: Results = []
    if set(sizes.parts) - {"rows"}:
        async with _bench(sizes.orders, sizes.events) as (bench, tailed):
            if "apply" in sizes.parts:
                results += tailed
                results += await _part("apply", _apply_rounds(bench, f"{sizes.orders:,} orders in turn", sizes.rounds))
            if set(sizes.parts) - {"apply", "rows"}:
                results += await _part("questions", _questions(bench, sizes))
    if "apply" in sizes.parts:
        async with _bench(sizes.hot, sizes.events) as (bench, _):
            rounds = max(1, sizes.rounds - 1)
            results += await _part("apply", _apply_rounds(bench, f"{sizes.hot:,} hot orders", rounds))
    if "rows" in sizes.parts:
        results += await _part("rows", _rows(sizes.rows))
    return results


async def _part(name: str, measured: Awaitable[Results]) -> Results:
    try:
        return await measured
    except (RuntimeError, TimeoutError) as error:
        say(f"{name} failed: {error!r}")
        return [(f"{name}: failed", math.nan)]


# -- events to rows --------------------------------------------------------------------------------------


async def _apply_rounds(bench: Bench, name: str, rounds: int) -> Results:
    """A stock table, our table of orders, and all tables of the shop, in turn."""
    found: dict[str, list[Applied]] = {STOCK: [], ORDERS_ONLY: [], SHOP: []}
    for number in range(rounds):
        for module, figures in found.items():
            figures.append(await (_stock(bench) if module == STOCK else _ours(bench, module)))
            rate, cpu = figures[-1]
            say(f"{name}, round {number + 1}: {module}: {rate:,.0f} events/s, {cpu:,.0f} us of CPU each")
    rates = {module: [figure.rate for figure in figures] for module, figures in found.items()}
    cpu = {module: [figure.cpu for figure in figures] for module, figures in found.items()}
    rival = "a stock Faust table of orders"
    ours = {ORDERS_ONLY: "our table of orders", SHOP: "all tables of the shop"}
    return [
        *(Row(f"{name}: events/s, {it}", rates[module], rival, rates[STOCK]) for module, it in ours.items()),
        *(Row(f"{name}: CPU us/event, {it}", cpu[module], rival, cpu[STOCK], less=True) for module, it in ours.items()),
    ]


async def _stock(bench: Bench) -> Applied:
    written, folder = bench.written, bench.folder()
    group = f"{written.settings.namespace}stock-{folder.name}"
    count = str(min(written.count, STOCK_EVENTS))
    settings = {"BENCH_GROUP": group, "BENCH_TOPIC": written.topic, "BENCH_COUNT": count}
    return await _applied(bench, STOCK, folder, settings)


async def _ours(bench: Bench, module: str) -> Applied:
    ends, count = json.dumps(bench.written.ends), str(bench.written.count)
    settings = {"BENCH_APP": module, "BENCH_ENDS": ends, "BENCH_COUNT": count}
    return await _applied(bench, COUNTED, bench.folder(), settings)


async def _applied(bench: Bench, module: str, folder: Path, settings: dict[str, str]) -> Applied:
    """What a new worker says of itself: from its first event to its last, so none of it is the start of a process."""
    async with bench.worker(module, folder, **settings) as running:
        rate, cpu = (await running.says("bench rate ", LARGE_SECONDS)).split()
    await bench.forget_tables()
    return Applied(float(rate), float(cpu))


# -- questions, while the tables are there ----------------------------------------------------------------


async def _questions(bench: Bench, sizes: Sizes) -> Results:
    """One worker of the shop alone, then two side by side."""
    results: Results = []
    written = bench.written
    async with bench.worker(SHOP, bench.folder()) as first, Door.open(first.url) as door:
        await first.says(f"ready: {SHOP}", START_SECONDS)
        await door.all_reached(written.ends, LARGE_SECONDS)
        if "watchers" in sizes.parts:
            results += await _part("watchers", measure_watchers(written, first, sizes.orders))
        if "rebuild" in sizes.parts:
            results += await _part("rebuild", measure_rebuild(written, first, door))
        if "queries" in sizes.parts:
            async with bench.worker(SHOP, bench.folder()) as second:
                await second.says(f"ready: {SHOP}", START_SECONDS)
                results += await _part("queries", measure_queries(written, first, second, sizes.orders))
    return results


# -- memory, disk, and starting again -----------------------------------------------------------------------


async def _rows(rows: int) -> Results:
    """What the rows of orders take, and how long a worker needs that starts with them, or has to fetch them.

    A worker has caches and buffers whatever the number of rows, so its memory is also looked at with a tenth of them.
    """
    async with _bench(rows // FEWER, 2 * rows // FEWER) as (bench, _):
        few, _ = await _filled(bench, bench.folder())
    async with _bench(rows, 2 * rows) as (bench, _):
        folder, millions = bench.folder(), rows / 1e6
        many, changelogs = await _filled(bench, folder)
        disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        again, memory = await _started(bench, folder)
        fetched, _ = await _started(bench, bench.folder())
    return [
        (f"{rows // FEWER:,} rows: memory of the worker, MB", few),
        (f"{rows:,} rows: memory of the worker, MB", many),
        ("- for a million rows more, MB", (many - few) / (millions * (1 - 1 / FEWER))),
        (f"{rows:,} rows: memory of the worker when it has started with them, MB", memory),
        (f"{rows:,} rows: RocksDB for a million, MB", disk / 1e6 / millions),
        (f"{rows:,} rows: changelog for a million, before it is compacted, MB", changelogs / 1e6 / millions),
        (f"{rows:,} rows: start to serving, from its own files, s", again),
        (f"{rows:,} rows: start to serving, from the changelog, s", fetched),
    ]


async def _filled(bench: Bench, folder: Path) -> tuple[float, int]:
    """The memory of a worker that has applied all events, and what is on the changelog then."""
    async with bench.worker(ORDERS_ONLY, folder) as running, Door.open(running.url) as door:
        await running.says(f"ready: {ORDERS_ONLY}", START_SECONDS)
        await door.all_reached(bench.written.ends, LARGE_SECONDS)
        memory = running.memory_mb()
        say(f"{bench.written.count // 2:,} rows: {memory:,.0f} MB")
        return memory, await bench.changelogs()


async def _started(bench: Bench, folder: Path) -> tuple[float, float]:
    """Seconds until a worker answers, and its memory then."""
    began = time.perf_counter()
    async with bench.worker(ORDERS_ONLY, folder) as running, Door.open(running.url) as door:
        await door.all_reached(bench.written.ends, LARGE_SECONDS)
        return time.perf_counter() - began, running.memory_mb()
