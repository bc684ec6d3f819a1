"""Where events are read: partitions of events topics, by consumers without a group.

A table knows itself where it stands, so it needs none of what a Faust stream does for a message: acknowledgement,
commit, back-pressure by queue, an event object. Records come in batches as Kafka sent them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from projections.applying.event_reader import EventRecord
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel
from streams.kafka.client_factory import ClientFactory
from streams.kafka.records import AIOKafkaConsumer
from streams.notices import NOTICES
from streams.runtime.consumer import FETCH_WAIT_MS

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Records that are unpacked together."""
BUFFERED, BUFFERED_BYTES = 2_000, 8 << 20
"""Records of a partition that wait for their reader, and the bytes of their values; with more it is not read."""
ALL_BUFFERED_BYTES = 64 << 20
"""Of all partitions of a consumer: with many of them each has less."""
IDLE_WAIT_MS = 1_000
"""How long the broker keeps a request that finds nothing when nothing has come, and nobody has asked for anything else,
for `CALM_SECONDS`: a partition that is read from somewhere else is not in the request that is on its way."""
CALM_SECONDS = 5.0
REQUEST_MS = 10_000
"""A request whose connection ends in the middle, as with a token that ends, is made again after so long: aiokafka's own
40 s are as long as tables would answer nothing."""
AT_SECONDS = 2.0
"""So long it may take to have one record."""
ERRORS = (KafkaError, TimeoutError)
FIRST, END = "first", "end"


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

    async def passed(self) -> int:
        """The offset before which all has been read, or is nothing that anybody gets, as the marks of transactions."""

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

    def __init__(self, clients: ClientFactory) -> None:
        self._clients = clients
        self._shared: dict[str, _Consumer] = {}

    async def share(self, topic: str, partitions: Collection[int]) -> None:
        if (former := self._shared.pop(topic, None)) is not None:
            await former.close()
        if partitions:
            self._shared[topic] = await self._started(topic, partitions)

    async def open(self, topic: str, partition: int) -> TopicReading:
        shared = self._shared.get(topic)
        # None of one that has failed: what one partition has that cannot be read is to keep no other waiting.
        reading = None if shared is None or shared.error is not None else shared.readings.get(partition)
        if reading is None or reading.is_open:
            alone = await self._started(topic, [partition])
            reading = alone.readings[partition]
            reading.closes = alone
        reading.is_open = True
        return reading

    async def _started(self, topic: str, partitions: Collection[int]) -> _Consumer:
        async def start() -> _Consumer:
            consumer = self._clients.consumer(
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=FETCH_WAIT_MS,
                request_timeout_ms=REQUEST_MS,
                isolation_level="read_committed",
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            return _Consumer(consumer, topic, partitions)

        return await until_it_answers(start, f"Kafka: reading {topic}", ERRORS)


class _Consumer:
    """A consumer of some partitions, and a task that takes what it has fetched at once: while something fetched lies
    there, aiokafka asks the broker for nothing."""

    def __init__(self, kafka: AIOKafkaConsumer, topic: str, partitions: Collection[int]) -> None:
        self.kafka = kafka
        self.topic = topic
        self.error: Exception | None = None
        self.buffered_bytes = min(BUFFERED_BYTES, ALL_BUFFERED_BYTES // len(partitions))
        self._asking = asyncio.Lock()
        self._next: dict[str, asyncio.Task[Mapping[TopicPartition, int]]] = {}
        """The requests for offsets that have not begun yet."""
        self._tps = tps = [TopicPartition(topic, partition) for partition in partitions]
        self.readings = {tp.partition: _KafkaReading(self, tp) for tp in tps}
        self._hurried = 0.0
        self.hurry()
        kafka.assign(tps)
        kafka.pause(*tps)  # until it is known where to read
        self._task = asyncio.create_task(self._read(), name=f"reading {topic}")

    def hurry(self) -> None:
        """Something is going on: no request waits for long."""
        self._hurried = asyncio.get_running_loop().time()
        self.kafka._fetcher._fetch_max_wait_ms = FETCH_WAIT_MS

    async def close(self) -> None:
        await cancel(self._task)
        for task in self._next.values():
            await cancel(task)
        await self.kafka.stop()

    async def offset(self, name: str, tp: TopicPartition) -> int:
        """The first offset of a partition, or its end. Who asks before a request begins shares it: it is for all."""
        task = self._next.get(name)
        if task is None:
            task = self._next[name] = asyncio.create_task(self._ask(name))
        return (await asyncio.shield(task))[tp]

    async def _ask(self, name: str) -> Mapping[TopicPartition, int]:
        async with self._asking:
            del self._next[name]
            ask = self.kafka.beginning_offsets if name == FIRST else self.kafka.end_offsets
            what = f"Kafka: the {name} offsets of {self.topic}"
            found: Mapping[TopicPartition, int] = await until_it_answers(lambda: ask(self._tps), what, ERRORS)
            return found

    async def _read(self) -> None:
        try:
            while True:
                found = await until_it_answers(
                    lambda: self.kafka.getmany(timeout_ms=1_000, max_records=AT_ONCE),
                    f"Kafka: reading {self.topic}",
                    ERRORS,
                )
                if found:
                    self.hurry()
                elif asyncio.get_running_loop().time() - self._hurried > CALM_SECONDS:
                    self.kafka._fetcher._fetch_max_wait_ms = IDLE_WAIT_MS
                # At once: after a `seek` they would be none of what is due.
                for tp, records in found.items():
                    self.readings[tp.partition].put(records)
                await yield_if_due()
        except Exception as error:
            NOTICES.note("reading-failed", self.topic, f"reading {self.topic} failed, and is begun again: {error!r}")
            log.exception("reading %s failed, and is begun again by whoever reads", self.topic)
            self.error = error
        finally:
            for reading in self.readings.values():
                reading.filled.set()


def _size(records: Iterable[EventRecord]) -> int:
    return sum(len(record.value or b"") for record in records)


class _KafkaReading:
    """One partition of a consumer, with the records that were read and wait. It is somebody's from `open` to `close`,
    which also closes the consumer that is there for it alone."""

    def __init__(self, consumer: _Consumer, tp: TopicPartition) -> None:
        self.is_open = False
        self.closes: _Consumer | None = None
        self.filled = asyncio.Event()
        self._consumer = consumer
        self._tp = tp
        self._waiting: deque[EventRecord] = deque()
        self._bytes = 0
        self._paused = True
        self._next = -1

    def put(self, records: Sequence[EventRecord]) -> None:
        """These have been read."""
        self._waiting.extend(records)
        self._bytes += _size(records)
        self.filled.set()
        if len(self._waiting) >= BUFFERED or self._bytes >= self._consumer.buffered_bytes:
            self._pause(True)

    def _pause(self, paused: bool) -> None:
        if paused != self._paused:
            self._paused = paused
            (self._consumer.kafka.pause if paused else self._consumer.kafka.resume)(self._tp)

    def _clear(self) -> None:
        self._waiting.clear()
        self._bytes, self._next = 0, -1

    async def seek(self, offset: int) -> None:
        if offset != self._next:
            self._clear()
            self._consumer.hurry()
            self._consumer.kafka.seek(self._tp, offset)
            self._next = offset
            self._pause(False)

    async def read(self, most: int) -> Sequence[EventRecord]:
        while not self._waiting:
            if (error := self._consumer.error) is not None:
                raise ReadingFailed(f"{self._tp.topic}: {type(error).__name__}: {error}") from error
            self.filled.clear()
            await self.filled.wait()
        records = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self._bytes -= _size(records)
        if len(self._waiting) < BUFFERED // 2 and self._bytes < self._consumer.buffered_bytes // 2:
            self._pause(False)
        self._next = records[-1].offset + 1
        return records

    async def first(self) -> int:
        return await self._consumer.offset(FIRST, self._tp)

    async def end(self) -> int:
        return await self._consumer.offset(END, self._tp)

    async def passed(self) -> int:
        return self._next if self._waiting else int(await self._consumer.kafka.position(self._tp))

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
        if self.closes is not None:
            await self.closes.close()
        else:
            self._clear()
            self._pause(True)
            self.is_open = False
