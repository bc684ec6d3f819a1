"""A namespace of one measurement, with workers of its own; nothing of it is left on the servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from streams.settings import Settings
from tests.bench.load import Load
from tests.bench.worker import START_SECONDS, Worker, delete_topics, worker
from tests.e2e.worker import ORDERS, free_port
from tests.stores import drop_journals

NAMESPACES = "bench"
"""With what they begin."""
LOOK_SECONDS = 0.05
INTAKE_SECONDS = 240.0


class Space:
    """Where workers of one namespace run, and their files are."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.settings = Settings.from_environment(environment, database="shop")
        self._environment = environment
        self._folder = folder
        self._number = 0

    def folder(self) -> Path:
        """A new one, for the files of a process."""
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        return folder

    @contextlib.contextmanager
    def worker(
        self, module: str = ORDERS, folder: Path | None = None, port: int | None = None, **settings: str
    ) -> Iterator[Worker]:
        """A worker, which has just been started, with these settings besides."""
        folder = folder or self.folder()
        environment = {**self._environment, "DATA_DIR": str(folder), **settings}
        with worker(module, environment, folder.with_suffix(".log"), port) as running:
            yield running

    async def all_served(self, *workers: Worker) -> None:
        """Return when these have all partitions between them, each some. Raises `RuntimeError` when that does not come
        about."""
        everything = list(range(self.settings.partitions))
        deadline = time.monotonic() + START_SECONDS
        while True:
            served = [running.serves() for running in workers]
            if all(served) and sorted(partition for some in served for partition in some) == everything:
                return
            for running in workers:
                running.must_run()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the workers serve {served}\n" + "\n".join(it.tail() for it in workers))
            await asyncio.sleep(LOOK_SECONDS)


async def bare_intake(here: Space, topic: str, count: int) -> tuple[float, float]:
    """Messages a second, and processor time of each in microseconds, of a Faust worker that counts the first ones of a
    topic: see `intake.py`."""
    settings = {
        "BENCH_GROUP": f"{here.settings.namespace}intake-{uuid.uuid4().hex[:6]}",
        "BENCH_TOPIC": topic,
        "BENCH_COUNT": str(count),
    }
    with here.worker("tests.bench.intake", **settings) as running:
        rate, cost = (await running.says("rate ", INTAKE_SECONDS)).split()
        return float(rate), float(cost)


@contextlib.asynccontextmanager
async def space(**settings: str) -> AsyncIterator[Space]:
    """A new one, for the length of a block."""
    namespace = f"{NAMESPACES}{uuid.uuid4().hex[:6]}_"
    with tempfile.TemporaryDirectory() as folder:
        found = Space({**os.environ, "NAMESPACE": namespace, **settings}, Path(folder))
        try:
            yield found
        finally:
            await delete_topics(found.settings, lambda name: name.startswith(namespace))
            for url in {found.settings.journal_url, found.settings.read_model_url or found.settings.journal_url}:
                await drop_journals(url, namespace)


@contextlib.asynccontextmanager
async def orders_worker(orders: int, **settings: str) -> AsyncIterator[tuple[Space, Load, Worker]]:
    """One worker of orders in a space of its own, with that many open."""
    async with space(**settings) as found:
        with found.worker(port=free_port()) as running:
            load = Load(found.settings, orders, [running])
            await found.all_served(running)
            async with load.clients():
                await load.open()
                yield found, load, running
