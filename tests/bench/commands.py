"""Commands a second from Kafka to the durable journal with replies, beside Faust's bare intake in the same run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.messages import command_headers
from streams.settings import Settings
from streams.topics import commands_topic, replies_topic
from tests.bench.worker import START_SECONDS, Worker, delete_topics, say, worker
from tests.stores import drop_journals

ROUND_SECONDS = 120.0


class Load:
    """Orders, commands to them, and the replies counted."""

    def __init__(self, settings: Settings, orders: int) -> None:
        self.settings = settings
        self.orders = [f"o{number}" for number in range(orders)]
        self.topic = commands_topic(settings.namespace, "order")
        self.replies = replies_topic(settings.namespace)

    @contextlib.asynccontextmanager
    async def clients(self) -> AsyncIterator[None]:
        """Connect."""
        servers = self.settings.bootstrap_servers
        self._producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5, max_batch_size=1 << 17)
        self._consumer = AIOKafkaConsumer(bootstrap_servers=servers)
        await self._producer.start()
        await self._consumer.start()
        self._partitions = [TopicPartition(self.replies, p) for p in range(self.settings.partitions)]
        try:
            yield
        finally:
            await self._producer.stop()
            await self._consumer.stop()

    async def _replied(self) -> int:
        return sum((await self._consumer.end_offsets(self._partitions)).values())

    async def _send(self, order: str, type: str, data: bytes) -> asyncio.Future[object]:
        headers = command_headers(str(uuid.uuid4()), type, "/bench", self.replies)
        return await self._producer.send(self.topic, data, key=order.encode(), headers=headers)

    async def open(self) -> None:
        """Open all orders."""
        before = await self._replied()
        for order in self.orders:
            await self._send(order, "OpenOrder", b'{"user_id":"u","kind":"sale","country":"United Kingdom"}')
        await self._until(before + len(self.orders))

    async def round(self, count: int) -> float:
        """Commands a second, from the first reply to the last."""
        before = await self._replied()
        data = b'{"sku":"85123A","description":"WHITE HANGING HEART T-LIGHT HOLDER","quantity":6,"unit_price":"2.55"}'
        sent = asyncio.create_task(self._send_all(count, data))
        first = await self._until(before + 1)
        began = time.perf_counter()
        last = await self._until(before + count)
        seconds = time.perf_counter() - began
        await sent
        return (last - first) / seconds

    async def _send_all(self, count: int, data: bytes) -> None:
        choose = random.Random(count).choice
        for number in range(count):
            await self._send(choose(self.orders), "AddLine", data)
            if number % 100 == 0:
                await asyncio.sleep(0)  # sending alone does not let others look how far it is

    async def _until(self, replies: int) -> int:
        """Wait for so many replies; how many there are then."""
        deadline = time.monotonic() + ROUND_SECONDS
        while (replied := await self._replied()) < replies:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{replies - replied} replies are missing after {ROUND_SECONDS:.0f} s")
            await asyncio.sleep(0.02)
        return replied


async def measure(count: int, orders: int, rounds: int) -> list[tuple[str, float]]:
    """Rounds of `count` commands and of bare intake of the same messages, in turn; the best of each, and the ratio."""
    ours: list[float] = []
    bare: list[float] = []
    async with _orders_worker(orders) as (load, running, environment, folder):
        memory = running.memory_mb()
        for number in range(rounds):
            cpu = running.cpu_seconds()
            ours.append(await load.round(count))
            cpu_used = running.cpu_seconds() - cpu
            say(f"round {number + 1}: {ours[-1]:,.0f} commands/s")
            bare.append(await _intake(load, environment, folder, orders + count * (number + 1)))
            say(f"round {number + 1}: {bare[-1]:,.0f} messages/s bare")
        memory_after = running.memory_mb()
    return [
        ("commands/s, one worker, Kafka to journal with replies", max(ours)),
        ("messages/s, Faust's bare intake of the same topic", max(bare)),
        ("ratio of the two", max(ours) / max(bare)),
        ("CPU of the worker per command, microseconds", cpu_used / count * 1e6),
        ("memory of the worker before, MB", memory),
        (f"memory of the worker after {count * rounds:,} commands, MB", memory_after),
    ]


async def measure_memory(count: int, orders: int, rounds: int) -> list[tuple[str, float]]:
    """Rounds of `count` commands: the rate of each, and the worker's memory after it."""
    results: list[tuple[str, float]] = []
    async with _orders_worker(orders) as (load, running, _, _):
        results.append(("memory of the worker before, MB", running.memory_mb()))
        for number in range(1, rounds + 1):
            rate, memory = await load.round(count), running.memory_mb()
            say(f"after {count * number:,} commands: {rate:,.0f} commands/s, {memory:,.0f} MB")
            results.append((f"commands/s, up to {count * number:,}", rate))
            results.append((f"memory of the worker after {count * number:,} commands, MB", memory))
    return results


@contextlib.asynccontextmanager
async def _orders_worker(orders: int) -> AsyncIterator[tuple[Load, Worker, dict[str, str], Path]]:
    """One orders worker in a namespace of its own, with that many orders open."""
    namespace = f"bench{uuid.uuid4().hex[:6]}_"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NAMESPACE": namespace, "DATA_DIR": folder}
        settings = Settings.from_environment(environment)
        load = Load(settings, orders)
        try:
            with worker("streams.shop.orders", environment, Path(folder) / "orders.log") as running:
                await running.says("ready: streams.shop.orders", START_SECONDS)
                async with load.clients():
                    await load.open()
                    yield load, running, environment, Path(folder)
        finally:
            await delete_topics(settings.bootstrap_servers, lambda name: name.startswith(namespace))
            await drop_journals(settings.journal_url, namespace)


async def _intake(load: Load, environment: dict[str, str], folder: Path, count: int) -> float:
    group = f"{load.settings.namespace}intake{count}"
    extra = {
        "BENCH_GROUP": group,
        "BENCH_TOPIC": load.topic,
        "BENCH_COUNT": str(count),
        "DATA_DIR": str(folder / group),
    }
    with worker("tests.bench.intake", {**environment, **extra}, folder / f"{group}.log") as running:
        return float((await running.says("rate ", ROUND_SECONDS)).split()[0])
