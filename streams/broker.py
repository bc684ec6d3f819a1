"""The worker's own Kafka client: an idempotent producer for replies, hints and dead letters, and looks at the log."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from streams.journal import Unavailable
from streams.last_events import behind, position_of
from streams.murmur2 import murmur2
from streams.retry import until_it_answers
from streams.topic_ids import Described, describe, existing
from streams.topics import TopicError, ensure_topics, may_take_replies, reply_topic

log = logging.getLogger(__name__)

MAX_PENDING = 20_000
"""Replies on their way to Kafka; owners wait when there are more."""
MAX_REPLY_TOPICS = 1_000
BATCH_BYTES = 256 * 1024
PROBE_SECONDS = 10.0

Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
Sent = tuple["asyncio.Future[Any]", int]


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's Java client puts a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


class Broker:
    """Started and stopped with the worker. All sends are idempotent and wait for all replicas."""

    def __init__(self, bootstrap_servers: list[str], partitions: int, security: dict[str, Any] | None = None) -> None:
        self._servers = bootstrap_servers
        self._security = security or {}
        self._partitions = partitions
        self._producer: AIOKafkaProducer | None = None
        self._reply_topics: dict[str, int] = {}
        self._refused: set[str] = set()
        self._waiting: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self._queues: dict[tuple[str, int], list[Record]] = {}
        self._pending = 0
        self._drained = asyncio.Condition()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._probe: AIOKafkaConsumer | None = None
        self._probing = asyncio.Lock()

    @property
    def producer(self) -> AIOKafkaProducer:
        assert self._producer is not None, "the broker is not started"
        return self._producer

    async def start(self) -> None:
        """Connect. Raises `KafkaError`."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            **self._security,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Send what is waiting, then disconnect."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        if self._probe is not None:
            await self._probe.stop()
            self._probe = None
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def describe(self, topics: Iterable[str]) -> dict[str, Described]:
        """Topics as the broker has them. Raises `KafkaError`."""
        return await describe(self.producer.client, topics)

    async def existing(self, topics: Iterable[str]) -> dict[str, Described | None]:
        """Topics that there are, None for one without a leader just now. Raises `KafkaError`."""
        return await existing(self.producer.client, topics)

    async def send_records(self, topic: str, partition: int, records: Sequence[Record]) -> list[Sent]:
        """Hand over records of one partition in order, as batches: a future that has the offset of the first
        record when the broker has them, and their number."""
        sent: list[Sent] = []
        batch = self.producer.create_batch()

        async def send() -> None:
            sent.append((await self.producer.send_batch(batch, topic, partition=partition), batch.record_count()))

        for key, value, headers in records:
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                await send()
                batch = self.producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=headers)
        if batch.record_count():
            await send()
        return sent

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        """Send records of one partition in order; durable on return, however long it takes. The last one's offset.

        After an error all of them are sent again, so a reader may see some twice.
        """

        async def once() -> int:
            last = -1
            for future, count in await self.send_records(topic, partition, records):
                last = (await future).offset + count - 1
            return last

        return await until_it_answers(once, f"Kafka: publishing to {topic}-{partition}", (KafkaError, TimeoutError))

    # -- replies and hints -----------------------------------------------------------------------------

    async def reply(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        """Send replies (topic, key, value) in the background; waits while too many are on their way.

        A topic that does not exist is made. Replies to one that the system itself reads are dropped.
        """
        for topic, key, value in replies:
            partitions = self._reply_topics.get(topic)
            if partitions is not None:
                encoded = key.encode()
                self._enqueue(topic, partition_of(encoded, partitions), (encoded, value, []))
            elif topic not in self._refused:
                if topic not in self._waiting:
                    self._spawn(self._find_reply_topic(topic))
                self._waiting[topic].append((key, value))
                self._pending += 1
        async with self._drained:
            await self._drained.wait_for(lambda: self._pending < MAX_PENDING)

    async def _find_reply_topic(self, topic: str) -> None:
        try:
            if not may_take_replies(topic):
                raise TopicError("it is not a legal name, or the system itself reads it")
            if len(self._reply_topics) >= MAX_REPLY_TOPICS:
                raise TopicError(f"there are {MAX_REPLY_TOPICS} reply topics already")
            present = await self.describe([topic])
            if topic not in present:
                wanted = [reply_topic(topic, self._partitions)]
                present = dict(await ensure_topics(self._servers, wanted, **self._security))
            self._reply_topics[topic] = present[topic].partitions
        except (KafkaError, TopicError, TimeoutError) as error:
            if isinstance(error, TopicError) and len(self._refused) < MAX_REPLY_TOPICS:
                self._refused.add(topic)
            log.warning("no replies to %r: %s", topic, error)
        waiting = self._waiting.pop(topic)
        self._pending -= len(waiting)
        if topic in self._reply_topics:
            await self.reply([(topic, key, value) for key, value in waiting])

    def hint(self, topic: str, partition: int, nr: int) -> None:
        """Send a commit hint in the background; a lost one costs at most the tailer's poll interval."""
        queue = self._queues.get((topic, partition))
        if queue:
            queue.clear()  # the newest says it all
        self._enqueue(topic, partition, (None, str(nr).encode(), []), 0)

    def _enqueue(self, topic: str, partition: int, record: Record, weight: int = 1) -> None:
        place = (topic, partition)
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = []
            self._spawn(self._pump(place, queue, weight))
        queue.append(record)
        self._pending += weight

    async def _pump(self, place: tuple[str, int], queue: list[Record], weight: int) -> None:
        """Send what one partition has to get, a batch at a time: while one is on its way the next one grows."""
        await asyncio.sleep(0)
        while queue:
            records = queue.copy()
            queue.clear()
            try:
                for future, _ in await self.send_records(*place, records):
                    await future
            except (KafkaError, AssertionError, TimeoutError) as error:
                # The producer has tried for its whole request time-out; whoever still wants a reply asks again.
                self._reply_topics.pop(place[0], None)
                log.warning("%d messages to %s are lost: %r", len(records), place[0], error)
            self._pending -= weight * len(records)
            async with self._drained:
                self._drained.notify_all()
        del self._queues[place]

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- looks at the log ------------------------------------------------------------------------------

    async def gap_is_empty(self, topic: str, partition: int, start: int, end: int) -> bool:
        """Whether Kafka has no record with start <= offset < end for a reader: transaction markers, or retention.

        False also when Kafka does not answer: reading again from `start` is always right.
        """
        try:
            record = await self._first_record(topic, partition, start)
        except (KafkaError, TimeoutError):
            return False
        return record is not None and record.offset >= end

    async def end_offset(self, topic: str, partition: int) -> int:
        """The offset that the next record of a partition gets. Raises `KafkaError`."""
        async with self._probing:
            if self._probe is None:
                probe = AIOKafkaConsumer(bootstrap_servers=self._servers, **self._security)
                try:
                    await probe.start()
                except BaseException:
                    await probe.stop()
                    raise
                self._probe = probe
        tp = TopicPartition(topic, partition)
        return int((await asyncio.wait_for(self._probe.end_offsets([tp]), PROBE_SECONDS))[tp])

    async def last_record(self, topic: str, partition: int) -> Any:
        """The last record of a partition without transactions, or None when it holds none. Raises `KafkaError`."""
        async with _reader(self._servers, self._security, topic, partition) as (consumer, tp):
            first = (await consumer.beginning_offsets([tp]))[tp]
            end = (await consumer.end_offsets([tp]))[tp]
            if first >= end:
                return None
            consumer.seek(tp, end - 1)
            return await asyncio.wait_for(consumer.getone(), PROBE_SECONDS)

    async def _first_record(self, topic: str, partition: int, start: int) -> Any:
        async with _reader(self._servers, self._security, topic, partition) as (consumer, tp):
            consumer.seek(tp, start)
            return await asyncio.wait_for(consumer.getone(), PROBE_SECONDS)


class _reader:
    """A consumer without a group, of one partition."""

    def __init__(self, servers: list[str], security: dict[str, Any], topic: str, partition: int) -> None:
        self._tp = TopicPartition(topic, partition)
        self._consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", **security)

    async def __aenter__(self) -> tuple[AIOKafkaConsumer, TopicPartition]:
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        self._consumer.assign([self._tp])
        return self._consumer, self._tp

    async def __aexit__(self, *error: object) -> None:
        await self._consumer.stop()


class PartitionLog:
    """A partition of a topic, as an owner looks at it."""

    def __init__(self, broker: Broker, topic: str, partition: int, events: str = "") -> None:
        self._broker = broker
        self._topic = topic
        self._partition = partition
        self._events = events

    async def end(self) -> int:
        try:
            return await self._broker.end_offset(self._topic, self._partition)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the end of {self._topic}-{self._partition}: {error!r}") from None

    async def topic_id(self) -> str:
        try:
            topic = (await self._broker.describe([self._topic])).get(self._topic)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the id of {self._topic}: {error!r}") from None
        return "" if topic is None else topic.id

    async def check_unpublished(self, stream: str) -> None:
        if not self._events:
            return
        try:
            if await self._broker.end_offset(self._events, self._partition) == 0:
                return
            record = await self._broker.last_record(self._events, self._partition)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the last event of {self._events}-{self._partition}: {error!r}") from None
        position = position_of(record.headers, stream) if record is not None else None
        if position is not None:
            raise Unavailable(behind(stream, position, 0))

    async def gap_is_empty(self, start: int, end: int) -> bool:
        return await self._broker.gap_is_empty(self._topic, self._partition, start, end)
