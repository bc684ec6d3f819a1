"""Where events are read: partitions of events topics, by consumers without a group.

A table knows itself where it stands, so it needs none of what a Faust stream does for a message: acknowledgement,
commit, back-pressure by queue, an event object. Records come in batches as Kafka sent them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from projections.applying.events import EventRecord
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel
from streams.kafka.records import AIOKafkaConsumer
from streams.runtime.consumer import FETCH_WAIT_MS

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Records that are unpacked together."""
BUFFERED, BUFFERED_BYTES = 2_000, 8 << 20
"""Records of a partition that wait for their reader, and the bytes of their values; with more it is not read."""
AT_SECONDS = 2.0
"""So long it may take to have one record."""
ERRORS = (KafkaError, TimeoutError)


class ReadingFailed(Exception):
    """What reads from Kafka has failed, which no waiting mends: open the partition again."""


class TopicReading(Protocol):
    """One partition of an events topic, read from an offset on. What does not answer is waited for."""

    async def seek(self, offset: int) -> None:
        """Go on with the record at this offset."""

    async def read(self, most: int) -> Sequence[EventRecord]:
        """The next records, up to so many; waits until there is one. Raises `ReadingFailed`."""

    async def first(self) -> int:
        """The offset of the oldest record that the partition still has."""

    async def end(self) -> int:
        """The offset that the next record will get."""

    async def at(self, offset: int) -> EventRecord | None:
        """The record at an offset, or the one behind it where there is none; None at the end. The next that is read is
        the one that follows. Raises `ReadingFailed`."""

    async def close(self) -> None:
        """Read no more."""


class TopicReader(Protocol):
    """Opens partitions."""

    async def share(self, topic: str, partitions: Collection[int]) -> None:
        """These are about to be opened, and may use one connection; those shared before are not used any more."""

    async def open(self, topic: str, partition: int) -> TopicReading:
        """Connect. Waits for a broker that does not answer."""


class KafkaTopicReader:
    """Reads from Kafka: a topic's partitions by one consumer, where they have been shared, others by one each."""

    def __init__(self, servers: list[str]) -> None:
        self._servers = servers
        self._shared: dict[str, _Consumer] = {}

    async def share(self, topic: str, partitions: Collection[int]) -> None:
        former = self._shared.pop(topic, None)
        if former is not None:
            await former.close()
        if partitions:
            self._shared[topic] = await self._consumer(topic, partitions)

    async def open(self, topic: str, partition: int) -> TopicReading:
        shared = self._shared.get(topic)
        if shared is not None and shared.lend(partition):
            return _KafkaReading(shared, partition, alone=False)
        return _KafkaReading(await self._consumer(topic, [partition]), partition, alone=True)

    async def _consumer(self, topic: str, partitions: Collection[int]) -> _Consumer:
        consumer = _Consumer(self._servers, topic, partitions)
        await until_it_answers(consumer.start, f"Kafka: reading {topic}", ERRORS)
        return consumer


class _Buffer:
    """The records of one partition that were read and wait."""

    def __init__(self) -> None:
        self.records: deque[EventRecord] = deque()
        self.bytes = 0
        self.filled = asyncio.Event()
        self.paused = True
        self.lent = False


def _size(record: EventRecord) -> int:
    return len(record.value or b"")


class _Consumer:
    """A consumer of some partitions, and a task that takes what it has fetched at once: while something fetched lies
    there, aiokafka asks the broker for nothing."""

    def __init__(self, servers: list[str], topic: str, partitions: Collection[int]) -> None:
        self._servers = servers
        self._topic = topic
        self._buffers = {partition: _Buffer() for partition in partitions}
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    async def start(self) -> None:
        """Raises `KafkaError`."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        tps = [TopicPartition(self._topic, partition) for partition in self._buffers]
        consumer.assign(tps)
        consumer.pause(*tps)  # until it is known where to read
        self._consumer = consumer
        self._task = asyncio.create_task(self._read(consumer), name=f"reading {self._topic}")

    async def close(self) -> None:
        if self._task is not None:
            await cancel(self._task)
        if self._consumer is not None:
            await self._consumer.stop()

    def lend(self, partition: int) -> bool:
        """Whether a partition can be had; it is the caller's until `seek` or `close`. None of one that has failed:
        what one partition has that cannot be read is to keep no other waiting."""
        buffer = self._buffers.get(partition)
        if buffer is None or buffer.lent or self._error is not None:
            return False
        buffer.lent = True
        return True

    def release(self, partition: int) -> None:
        """Nobody reads a partition any more."""
        buffer = self._buffers[partition]
        buffer.records.clear()
        buffer.bytes = 0
        buffer.lent = False
        self._pause(partition, buffer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        try:
            await self._take(consumer)
        except Exception as error:
            log.exception("reading %s failed, and is begun again by whoever reads", self._topic)
            self._error = error
        finally:
            for buffer in self._buffers.values():
                buffer.filled.set()

    async def _take(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            found = await until_it_answers(
                lambda: consumer.getmany(timeout_ms=1_000, max_records=AT_ONCE), f"Kafka: reading {self._topic}", ERRORS
            )
            # At once: after a `seek` they would be none of what is due.
            for tp, records in found.items():
                buffer = self._buffers[tp.partition]
                buffer.records.extend(records)
                buffer.bytes += sum(map(_size, records))
                buffer.filled.set()
                if len(buffer.records) >= BUFFERED or buffer.bytes >= BUFFERED_BYTES:
                    self._pause(tp.partition, buffer)
            await yield_if_due()

    def _pause(self, partition: int, buffer: _Buffer) -> None:
        if not buffer.paused and self._consumer is not None:
            buffer.paused = True
            self._consumer.pause(TopicPartition(self._topic, partition))

    def seek(self, partition: int, offset: int) -> None:
        assert self._consumer is not None, "not started"
        buffer, tp = self._buffers[partition], TopicPartition(self._topic, partition)
        buffer.records.clear()
        buffer.bytes = 0
        self._consumer.seek(tp, offset)
        if buffer.paused:
            buffer.paused = False
            self._consumer.resume(tp)

    async def read(self, partition: int, most: int) -> Sequence[EventRecord]:
        assert self._consumer is not None, "not started"
        buffer = self._buffers[partition]
        while not buffer.records:
            if self._error is not None:
                raise ReadingFailed(f"{self._topic}: {type(self._error).__name__}: {self._error}") from self._error
            buffer.filled.clear()
            await buffer.filled.wait()
        records = [buffer.records.popleft() for _ in range(min(most, len(buffer.records)))]
        buffer.bytes -= sum(map(_size, records))
        if buffer.paused and len(buffer.records) < BUFFERED // 2 and buffer.bytes < BUFFERED_BYTES // 2:
            buffer.paused = False
            self._consumer.resume(TopicPartition(self._topic, partition))
        return records

    async def offset(self, partition: int, of: str) -> int:
        """The first or the `end` offset of a partition."""
        assert self._consumer is not None, "not started"
        tp = TopicPartition(self._topic, partition)
        ask = self._consumer.end_offsets if of == "end" else self._consumer.beginning_offsets
        found = await until_it_answers(
            lambda: ask([tp]), f"Kafka: the {of} offset of {self._topic}-{partition}", ERRORS
        )
        return int(found[tp])


class _KafkaReading:
    def __init__(self, consumer: _Consumer, partition: int, alone: bool) -> None:
        self._consumer = consumer
        self._partition = partition
        self._alone = alone
        self._next = -1

    async def seek(self, offset: int) -> None:
        if offset != self._next:
            self._consumer.seek(self._partition, offset)
            self._next = offset

    async def read(self, most: int) -> Sequence[EventRecord]:
        records = await self._consumer.read(self._partition, most)
        self._next = records[-1].offset + 1
        return records

    async def first(self) -> int:
        return await self._consumer.offset(self._partition, "first")

    async def end(self) -> int:
        return await self._consumer.offset(self._partition, "end")

    async def at(self, offset: int) -> EventRecord | None:
        if offset >= await self.end():
            return None
        await self.seek(offset)
        try:
            async with asyncio.timeout(AT_SECONDS):
                return (await self.read(1))[0]
        except TimeoutError:  # transactions have left their marks there, which nobody gets
            return None

    async def close(self) -> None:
        if self._alone:
            await self._consumer.close()
        else:
            self._consumer.release(self._partition)
