"""A client of the system on Kafka: what it sends, and what it gets."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import murmur2

from streams.kafka.client_factory import ClientFactory
from tests.side_by_side import PROCESSES

PARTITIONS = 4
PAUSE = 0.05
patience = PROCESSES
"""By how much all takes longer than where one test runs at a time, on open servers."""

Headers = Sequence[tuple[str, bytes]]


async def eventually(probe: Callable[[], Any], seconds: float, what: Callable[[], str] | str) -> Any:
    """The first true result of `probe`, asked again and again; fails with `what` when there is none in `seconds`, which
    are those of a machine that runs one test at a time."""
    deadline = time.monotonic() + seconds * patience
    while True:
        found = probe()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(PAUSE)


def partition_of(key: str) -> int:
    """Where the reference partitioner puts a key."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS


def keys_of(partition: int, prefix: str) -> Iterable[str]:
    """Keys with this prefix that belong to a partition, without end."""
    number = 0
    while True:
        if partition_of(f"{prefix}{number}") == partition:
            yield f"{prefix}{number}"
        number += 1


def headers(id: str, type: str, reply_to: str = "", **others: str) -> list[tuple[str, bytes]]:
    """CloudEvents binary mode; `others` as in `deadline="..."`, and `content_type`."""
    content_type = others.pop("content_type", "application/json")
    attributes = {"specversion": "1.0", "id": id, "type": type, "source": "/tests/e2e", "replyto": reply_to, **others}
    found = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if value]
    return [*found, ("content-type", content_type.encode())]


@dataclass
class Inbox:
    """What has arrived on a topic since its beginning, and goes on arriving."""

    records: list[Any] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each record came, by the monotonic clock."""
    by_key: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    consumer: AIOKafkaConsumer | None = None
    task: asyncio.Task[None] | None = None

    async def open(self, clients: ClientFactory, topic: str, partitions: int) -> None:
        """Begin to read."""
        self.consumer = clients.consumer(auto_offset_reset="earliest")
        await self.consumer.start()
        self.consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.consumer is not None
        async for record in self.consumer:
            self.records.append(record)
            self.times.append(time.monotonic())
            self.by_key[(record.key or b"").decode(errors="replace")].append(record)

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        if self.consumer is not None:
            await self.consumer.stop()

    async def answer(self, key: str, count: int = 1, seconds: float = 15) -> dict[str, Any]:
        """The reply number `count` to a command, as JSON."""
        await eventually(lambda: len(self.by_key[key]) >= count, seconds, f"reply {count} to {key}")
        return dict(json.loads(self.by_key[key][count - 1].value))
