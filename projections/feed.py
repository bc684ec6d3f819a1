"""Where lanes read: a consumer of its own for each partition, without a group.

A lane knows itself where it stands, so it needs none of what a Faust stream does for a message: acknowledgement,
commit, back-pressure by queue, an event object. Records come in batches as Kafka sent them, without a gap. That
partitions do not share a consumer keeps one that waits for its store from holding up the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from projections.events import Record
from streams.retry import until_it_answers

WAIT_MS = 1_000
ANSWER_ERRORS = (KafkaError, TimeoutError)


class Reading(Protocol):
    """One partition of an events topic, read from an offset on. What does not answer is waited for."""

    async def seek(self, offset: int) -> None:
        """Go on with the record at this offset."""

    async def read(self, most: int) -> Sequence[Record]:
        """The next records, up to so many; waits until there is one."""

    async def first(self) -> int:
        """The offset of the oldest record that the partition still has."""

    async def end(self) -> int:
        """The offset that the next record will get."""

    async def at(self, offset: int) -> Record | None:
        """The record at an offset at which there is one, or the one behind it; None at the end."""

    async def close(self) -> None:
        """Disconnect."""


class Feed(Protocol):
    """Opens partitions."""

    async def open(self, topic: str, partition: int) -> Reading: ...


class KafkaFeed:
    """Reads from Kafka."""

    def __init__(self, servers: list[str]) -> None:
        self._servers = servers

    async def open(self, topic: str, partition: int) -> Reading:
        """Connect to the broker of a partition."""
        reading = _KafkaReading(self._servers, TopicPartition(topic, partition))
        await until_it_answers(reading.start, f"Kafka: reading {topic}-{partition}", ANSWER_ERRORS)
        return reading


class _KafkaReading:
    def __init__(self, servers: list[str], tp: TopicPartition) -> None:
        self._tp = tp
        self._servers = servers
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Raises `KafkaError`."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=WAIT_MS,
        )
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        consumer.assign([self._tp])
        self._consumer = consumer

    @property
    def _connected(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "not started"
        return self._consumer

    async def seek(self, offset: int) -> None:
        self._connected.seek(self._tp, offset)

    async def read(self, most: int) -> Sequence[Record]:
        while True:
            found = await until_it_answers(
                lambda: self._connected.getmany(self._tp, timeout_ms=WAIT_MS, max_records=most),
                f"Kafka: reading {self._tp.topic}-{self._tp.partition}",
                ANSWER_ERRORS,
            )
            for records in found.values():
                if records:
                    return records  # type: ignore[no-any-return]

    async def first(self) -> int:
        return await self._offset("the beginning of", self._connected.beginning_offsets)

    async def end(self) -> int:
        return await self._offset("the end of", self._connected.end_offsets)

    async def _offset(self, what: str, ask: object) -> int:
        where = f"Kafka: {what} {self._tp.topic}-{self._tp.partition}"
        found = await until_it_answers(lambda: ask([self._tp]), where, ANSWER_ERRORS)  # type: ignore[operator]
        return int(found[self._tp])

    async def at(self, offset: int) -> Record | None:
        if offset >= await self.end():
            return None
        await self.seek(offset)
        return (await self.read(1))[0]

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
