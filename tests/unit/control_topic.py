"""The control topic in memory: workers publish to it, and read it from its beginning on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from projections.applying.control import Control
from streams.kafka.client import ProducerRecord


class Stored(NamedTuple):
    """A record of the topic."""

    offset: int
    key: Any
    value: Any
    headers: Sequence[tuple[str, bytes]]
    timestamp: int = 0


class ControlTopic:
    """Kafka, as the facts see it: broker and feed in one."""

    def __init__(self) -> None:
        self.records: list[Stored] = []
        self._more = asyncio.Condition()
        self._up_to: int | None = None

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        for key, value, headers in records:
            self.records.append(Stored(len(self.records), key, value, headers, int(time.time() * 1_000)))
        await self.let_read(self._up_to)
        return len(self.records) - 1

    async def last_record(self, topic: str, partition: int) -> Stored | None:
        return self.records[-1] if self.records else None

    async def let_read(self, up_to: int | None = None) -> None:
        """Readers get what comes before this offset, or all."""
        async with self._more:
            self._up_to = up_to
            self._more.notify_all()

    async def read(self, start: int, most: int) -> Sequence[Stored]:
        """Those from an offset on; waits for the first."""

        def found() -> list[Stored]:
            return self.records[start : self._up_to][:most]

        async with self._more:
            await self._more.wait_for(lambda: bool(found()))
        return found()

    async def share(self, topic: str, partitions: Collection[int]) -> None: ...

    async def open(self, topic: str, partition: int) -> Reading:
        return Reading(self)


class Reading:
    """One who reads it."""

    def __init__(self, topic: ControlTopic) -> None:
        self._topic = topic
        self._next = 0

    async def seek(self, offset: int) -> None:
        self._next = offset

    async def read(self, most: int) -> Sequence[Stored]:
        records = await self._topic.read(self._next, most)
        self._next += len(records)
        return records

    async def first(self) -> int:
        return 0

    async def end(self) -> int:
        return len(self._topic.records)

    async def passed(self) -> int:
        return self._next

    async def at(self, offset: int) -> Stored | None:
        return self._topic.records[offset] if offset < len(self._topic.records) else None

    async def close(self) -> None: ...


@asynccontextmanager
async def following(topic: ControlTopic) -> AsyncIterator[Control]:
    """What one worker knows, from when it has read all that is there."""
    control = Control("projections-control", topic, topic)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        await control.start()
    try:
        yield control
    finally:
        await control.close()
