"""Commands at an even pace, and how long each took from its sending to its reply."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.deciding.messages import command_headers
from streams.kafka.topics import commands_topic, replies_topic
from streams.settings import Settings
from tests.bench.load import LINE, OPEN

REPLY_SECONDS = 30.0


class Asker:
    """A client that has its commands sent at once and its replies read as soon as they are there."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._topic = commands_topic(settings.namespace, "order")
        self._replies = replies_topic(settings.namespace)
        self._producer = producer
        self._sent: dict[bytes, float] = {}
        self._took: list[float] = []

    async def opened(self, orders: Sequence[str], per_second: float) -> list[float]:
        """Open these orders, one after another; the seconds until their replies, ascending."""
        return await self._ask("OpenOrder", OPEN, orders, per_second)

    async def lines(self, orders: Sequence[str], per_second: float) -> list[float]:
        """A line to each of these orders, as above."""
        return await self._ask("AddLine", LINE, orders, per_second)

    async def _ask(self, type: str, data: bytes, orders: Sequence[str], per_second: float) -> list[float]:
        self._took = []
        began = time.perf_counter()
        for number, id in enumerate(orders):
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            command = str(uuid.uuid4())
            headers = command_headers(command, type, "/bench", self._replies)
            self._sent[command.encode()] = time.perf_counter()
            await self._producer.send(self._topic, data, key=id.encode(), headers=headers)
        async with asyncio.timeout(REPLY_SECONDS):
            while self._sent:
                await asyncio.sleep(0.01)
        return sorted(self._took)

    async def _listen(self, consumer: AIOKafkaConsumer) -> None:
        async for reply in consumer:
            sent = self._sent.pop(reply.key, None)
            if sent is not None:
                if b'"accepted"' not in reply.value:
                    raise RuntimeError(f"not accepted: {reply.value!r}")
                self._took.append(time.perf_counter() - sent)


@contextlib.asynccontextmanager
async def asker(settings: Settings) -> AsyncIterator[Asker]:
    """Connected, at the end of the topic of replies, which exists."""
    servers = settings.bootstrap_servers
    async with (
        AIOKafkaProducer(bootstrap_servers=servers) as producer,
        AIOKafkaConsumer(bootstrap_servers=servers) as consumer,
    ):
        it = Asker(settings, producer)
        partitions = [TopicPartition(it._replies, partition) for partition in range(settings.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(it._listen(consumer))
            yield it
            listening.cancel()
