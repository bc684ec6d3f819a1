"""A load of commands to orders, made before it is sent, and what has become of it.

What a rate is. A round begins when the first batch of commands is handed to the producer, and its rate is the number of
commands divided by all of the time

* until Kafka has the last reply (`replied`): the journal holds all of them then; and
* until the rows by aggregate are written too (`written`), which a worker does behind the replies. It may be 64 commits
  of each partition behind with them, which is more than a round, so only this is what a worker can do for long.

Nothing is left out at either end, neither the first commands' way through Kafka nor the last, smaller commits.

The load shares the machine with what is measured, so it must cost next to nothing, or it is what one measures: a Python
producer needs 50 us for a command that it makes and sends one by one, as much as a worker for deciding it. So a round's
commands are put into record batches beforehand, as a producer on another machine would have done; in the round their
bytes are sent as they are. Replies are counted by the end of their topic, which Kafka says without their being read.

Two kinds of load:

* *open*: all commands are sent as fast as Kafka takes them, and wait there.
* *closed*: at most so many commands are without a reply. This is how a client in the same process asks, and how the
  rivals are asked, which have no Kafka in front of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import aiohttp
from aiokafka import TopicPartition

from streams.deciding.messages import command_headers
from streams.kafka.client import partition_of
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topics import commands_topic, replies_topic
from streams.settings import Settings
from tests.bench.worker import Worker

ROUND_SECONDS = 240.0
BATCH_BYTES = 1 << 16
CLOSED_BATCH = 25
"""Commands sent at once where only some may be without a reply."""
LOOK_SECONDS, CLOSED_LOOK_SECONDS = 0.02, 0.002
OPEN = b'{"user_id":"u","kind":"sale","country":"United Kingdom"}'
LINE = b'{"sku":"85123A","description":"WHITE HANGING HEART T-LIGHT HOLDER","quantity":6,"unit_price":"2.55"}'

Command = tuple[str, str, bytes]
"""Order, type and data."""


class Batch:
    """Commands to one partition, in the bytes that Kafka gets."""

    def __init__(self, partition: int, records: Any) -> None:
        self.partition = partition
        self.records = records
        self.count: int = records.record_count()


class Round(NamedTuple):
    """So many commands, and the seconds from the first of them until the last was replied to, and until all derived
    rows were written."""

    count: int
    replied: float
    written: float

    @property
    def rate(self) -> float:
        """Commands a second until all is written: what lasts."""
        return self.count / self.written

    @property
    def replies(self) -> float:
        """Commands a second until the last reply."""
        return self.count / self.replied


def ids(numbers: Iterable[int]) -> list[str]:
    """Orders by their numbers."""
    return [f"o{number}" for number in numbers]


class Load:
    """Commands to orders `o0`, `o1`, .. of one namespace, which these workers own. A worker must serve its web port;
    without any, all counts as written when it is replied to."""

    def __init__(self, settings: Settings, orders: int, workers: Sequence[Worker] = ()) -> None:
        self.settings = settings
        self.orders = ids(range(orders))
        self.workers = workers
        self.topic = commands_topic(settings.namespace, "order")
        self.replies = replies_topic(settings.namespace)
        self.sent = 0
        """Commands so far."""

    @contextlib.asynccontextmanager
    async def clients(self) -> AsyncIterator[None]:
        """Connect."""
        clients = ClientFactory.of(self.settings)
        self._producer, self._consumer = clients.producer(max_batch_size=BATCH_BYTES), clients.consumer()
        await self._producer.start()
        await self._consumer.start()
        self._partitions = [TopicPartition(self.replies, p) for p in range(self.settings.partitions)]
        try:
            async with aiohttp.ClientSession() as self._http:
                yield
        finally:
            await self._producer.stop()
            await self._consumer.stop()

    async def open(self, orders: Sequence[str] = ()) -> Round:
        """Open these orders (all)."""
        return await self._run(self._batches((order, "OpenOrder", OPEN) for order in orders or self.orders))

    async def round(self, count: int, among: int = 0, in_flight: int = 0) -> Round:
        """Lines to the first `among` orders (all), chosen at random.

        At most `in_flight` commands are without a reply; 0: as many as Kafka takes.
        """
        choose, most = random.Random(self.sent).randrange, among or len(self.orders)
        lines = ((self.orders[choose(most)], "AddLine", LINE) for _ in range(count))
        return await self._run(self._batches(lines, CLOSED_BATCH if in_flight else 0), in_flight)

    def _batches(self, commands: Iterable[Command], most: int = 0) -> list[Batch]:
        """In the order in which they are full, as a producer would send them; of at most so many commands each."""
        made: list[Batch] = []
        filling: dict[int, Any] = {}
        for order, type, data in commands:
            partition, key = partition_of(order.encode(), self.settings.partitions), order.encode()
            headers = command_headers(str(uuid.uuid4()), type, "/bench", self.replies)
            records = filling.get(partition)
            full = records is not None and records.record_count() == most
            if records is None or full or not records.append(timestamp=None, key=key, value=data, headers=headers):
                if records is not None:
                    made.append(Batch(partition, records))
                records = filling[partition] = self._producer.create_batch()
                records.append(timestamp=None, key=key, value=data, headers=headers)
        return [*made, *(Batch(partition, records) for partition, records in filling.items())]

    async def _run(self, batches: Sequence[Batch], in_flight: int = 0) -> Round:
        """Send them, and wait for all that follows."""
        count = sum(batch.count for batch in batches)
        before = await self._replied()
        self.sent += count
        began = time.perf_counter()
        if in_flight:
            await self._send_closed(iter(batches), before, in_flight)
        else:
            await self._send(batches)
        await self._until(before + count)
        replied = time.perf_counter() - began
        for worker in self.workers:
            await self._written(worker)
        return Round(count, replied, time.perf_counter() - began)

    async def owners(self, worker: Worker) -> list[dict[str, Any]]:
        """What a worker says of the partitions that it owns."""
        async with self._http.get(f"{worker.url}/owners") as response:
            return list((await response.json())["owners"])

    async def _written(self, worker: Worker) -> None:
        """Return when a worker has derived everything. Raises `RuntimeError` when it does not come to that."""
        deadline = time.monotonic() + ROUND_SECONDS
        while True:
            owners = await self.owners(worker)
            if all(owner["indexed"] == owner["head"] for owner in owners):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"derived rows are missing after {ROUND_SECONDS:.0f} s: {owners}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _send(self, batches: Iterable[Batch]) -> None:
        """Each partition's batches follow one another; no partition waits for another."""
        of_partition: dict[int, list[Batch]] = {}
        for batch in batches:
            of_partition.setdefault(batch.partition, []).append(batch)

        async def send(batches: list[Batch]) -> None:
            for batch in batches:
                await (await self._producer.send_batch(batch.records, self.topic, partition=batch.partition))

        await asyncio.gather(*(send(batches) for batches in of_partition.values()))

    async def _send_closed(self, batches: Iterator[Batch], before: int, in_flight: int) -> None:
        sent, replied = 0, before
        for batch in batches:
            # Looked for only when no more may be sent: a look takes as long as a commit.
            if sent + batch.count > replied - before + in_flight:
                replied = await self._until(before + sent + batch.count - in_flight, CLOSED_LOOK_SECONDS)
            await self._producer.send_batch(batch.records, self.topic, partition=batch.partition)
            sent += batch.count

    async def _replied(self) -> int:
        return sum((await self._consumer.end_offsets(self._partitions)).values())

    async def _until(self, replies: int, look: float = LOOK_SECONDS) -> int:
        """Wait for so many replies; how many there are then. Raises `RuntimeError` when they do not come."""
        deadline = time.monotonic() + ROUND_SECONDS
        while (replied := await self._replied()) < replies:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{replies - replied} replies are missing after {ROUND_SECONDS:.0f} s")
            await asyncio.sleep(look)
        return replied
