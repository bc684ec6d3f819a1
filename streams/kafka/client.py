"""The worker's own Kafka client: an idempotent producer for replies, hints and dead letters, and looks at the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.admin import DescribeConfigsRequest

from streams.concurrency.retry import until_it_answers
from streams.journal.port import Unavailable
from streams.journal.position import Position
from streams.kafka.last_records import last_wanted
from streams.kafka.murmur2 import partition_of as partition_of
from streams.kafka.published_through import behind, published_place
from streams.kafka.records import AIOKafkaConsumer
from streams.kafka.sender import Record as Record
from streams.kafka.sender import Sender
from streams.kafka.shared import SharedClient, let_end
from streams.kafka.topic_metadata import TopicMetadata, existing, read_metadata
from streams.kafka.topics import DAY, TopicError, ensure_topics, reply_topic

log = logging.getLogger(__name__)

MADE_TOPICS = 1_000
"""So many reply topics a worker makes at once, and again in each day; those that are there already do not count."""
BATCH_BYTES = 256 * 1024
PROBE_SECONDS = 10.0
LOOKS_AT_ONCE = 8
"""So many gaps are looked at at once, each by a consumer of its own: it can read but one partition."""
LIMIT_SECONDS = 30.0
"""How long it is believed what a topic takes."""
USUAL_LARGEST = 1_048_588
"""Kafka's default of `max.message.bytes`."""
MISNUMBERED = 5
"""So often a batch is sent again that came behind a refused one."""
_MAY_NOT_ASK = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError, IncompatibleBrokerVersion)
_TOPIC = 2  # a resource, as DescribeConfigs has them


class RecordTooLarge(KafkaError):  # type: ignore[misc]
    """A topic does not take a record. Sizes in bytes, with all that Kafka adds; those before it, `sent` in number, are
    there."""

    def __init__(self, topic: str, size: int, limit: int, sent: int = 0) -> None:
        super().__init__(
            f"a record of {size} bytes, and {topic} takes {limit}: raise max.message.bytes of that topic to let it in"
        )
        self.topic, self.size, self.limit, self.sent = topic, size, limit, sent


class KafkaClient:
    """Started and stopped with the worker. All sends are idempotent and wait for all replicas."""

    def __init__(self, bootstrap_servers: list[str], partitions: int, security: dict[str, Any] | None = None) -> None:
        self._servers = bootstrap_servers
        self._security = security or {}
        self._partitions = partitions
        self._producers: SharedClient[Any] = SharedClient(self._new_producer, self._spawn)
        self._limits: dict[str, tuple[int, float]] = {}
        self._sender = Sender(self.send, self._reply_partitions, self._spawn)
        self._made: deque[float] = deque(maxlen=MADE_TOPICS)
        """When reply topics were made, the last of them."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._probes: SharedClient[Any] = SharedClient(self._new_probe, self._spawn)
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._idle: list[AIOKafkaConsumer] = []
        """Consumers that have looked at a gap, and are kept for the next one."""

    @property
    def producer(self) -> AIOKafkaProducer:
        assert self._producers.current is not None, "the broker is not started"
        return self._producers.current

    async def start(self) -> None:
        """Connect. Raises `KafkaError`."""
        await self._producers.get()

    async def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            **self._security,
        )
        return await _started(producer)

    async def _new_probe(self) -> AIOKafkaConsumer:
        return await _started(AIOKafkaConsumer(bootstrap_servers=self._servers, **self._security))

    async def stop(self) -> None:
        """Send what is waiting, then disconnect."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        while self._idle:
            await let_end(self._idle.pop())
        await self._probes.stop()
        await self._producers.stop()

    async def describe(self, topics: Iterable[str]) -> dict[str, TopicMetadata]:
        """Topics as the broker has them. Raises `KafkaError`."""
        async with self._producers.in_use() as producer:
            return await read_metadata(producer.client, topics)

    async def existing(self, topics: Iterable[str]) -> dict[str, TopicMetadata | None]:
        """Topics that there are, None for one without a leader just now. Raises `KafkaError`."""
        async with self._producers.in_use() as producer:
            return await existing(producer.client, topics)

    # -- records of one partition ------------------------------------------------------------------------

    async def publish(self, topic: str, partition: int, records: Sequence[Record], refuse: bool = False) -> int:
        """Send records of one partition in order; durable on return, however long it takes. The last one's offset.

        After an error all of them are sent again, so a reader may see some twice, but none without those before it.
        One that is too large is waited for as well, until the topic takes it; with `refuse` that raises
        `RecordTooLarge`.
        """
        done = 0

        async def once() -> int | RecordTooLarge:
            nonlocal done
            try:
                return await self.send(topic, partition, records[done:])
            except RecordTooLarge as error:
                done += error.sent
                if refuse:
                    return RecordTooLarge(topic, error.size, error.limit, done)
                raise

        sent = await until_it_answers(once, f"Kafka: publishing to {topic}-{partition}", (KafkaError, TimeoutError))
        if isinstance(sent, RecordTooLarge):
            raise sent
        return sent

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        """Send records of one partition in order, once. The last one's offset, when the broker has all of them.

        They go in batches, each when the one before it is acknowledged: so nothing stands behind what was refused. An
        idempotent producer of aiokafka has but one batch of a partition on its way, so nothing is gained by more.
        Raises `RecordTooLarge`, `KafkaError`, `TimeoutError`.
        """
        last, sent, misnumbered = -1, 0, 0
        while sent < len(records):
            batch, count = _fill(records, sent, await self._most(topic))
            size = batch.size()
            if (size > BATCH_BYTES or topic in self._limits) and size > (limit := await self.largest(topic)):
                raise RecordTooLarge(topic, size, limit, sent)
            try:
                last = await self._deliver(topic, partition, batch) + count - 1
            except MessageSizeTooLargeError:
                await self._was_refused(topic, batch, count, sent)
            except OutOfOrderSequenceNumber:  # a batch before it was refused, of whomever: another producer takes it
                misnumbered += 1
                if misnumbered == MISNUMBERED:
                    raise
            else:
                sent += count
        return last

    async def _deliver(self, topic: str, partition: int, batch: BatchBuilder) -> int:
        return int((await self.deliver(lambda it: it.send_batch(batch, topic, partition=partition))).offset)

    async def deliver(self, hand_over: Callable[[AIOKafkaProducer], Awaitable[Awaitable[Any]]]) -> Any:
        """What the broker says to that which `hand_over` gives to the producer, by its `send` or `send_batch`. All that
        is sent is sent in this way. Raises `KafkaError`."""
        async with self._producers.in_use() as producer:
            delivered = await hand_over(producer)
            try:
                return await delivered
            except KafkaError:
                # It has counted the batch's records all the same, and whatever it sends to that partition from now on
                # is refused as out of order: another one takes its place.
                self._producers.spent(producer)
                raise

    async def largest(self, topic: str) -> int:
        """The bytes of the largest batch that a topic takes, with all that Kafka adds; asked of it twice a minute.

        While Kafka does not answer, what is known holds on. Raises `KafkaError`, `TimeoutError` where nothing is.
        """
        limit, until = self._limits.get(topic, (0, 0.0))
        if time.monotonic() >= until:
            try:
                limit = await self._ask_largest(topic)
            except (KafkaError, TimeoutError):
                if not limit:
                    raise
            self._limits[topic] = limit, time.monotonic() + LIMIT_SECONDS
        return limit

    async def _ask_largest(self, topic: str) -> int:
        """Raises `KafkaError`, `TimeoutError` where Kafka does not answer: that says nothing about the topic."""
        request = DescribeConfigsRequest([(_TOPIC, topic, ["max.message.bytes"])])
        try:
            async with self._producers.in_use() as producer:
                response = await producer.client.send(producer.client.get_random_node(), request)
            [(code, _, _, _, entries)] = response.resources
            if code:
                raise for_code(code)
            [(_, value, *_)] = entries
            return int(value)
        except (*_MAY_NOT_ASK, ValueError):
            return USUAL_LARGEST

    async def _most(self, topic: str) -> int:
        """The bytes of a batch: as many as it takes with ease, or all that the topic is known to take."""
        return BATCH_BYTES if topic not in self._limits else min(BATCH_BYTES, await self.largest(topic))

    async def _was_refused(self, topic: str, batch: BatchBuilder, count: int, sent: int) -> None:
        """The topic takes less than was known. Raises `RecordTooLarge` if that was one record."""
        limit = min(await self._ask_largest(topic), batch.size() - 1 if count == 1 else batch.size() // 2)
        self._limits[topic] = limit, time.monotonic() + LIMIT_SECONDS
        if count == 1:
            raise RecordTooLarge(topic, batch.size(), limit, sent)

    # -- replies and hints -----------------------------------------------------------------------------

    async def reply(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        """Send replies (topic, key, value) in the background; waits while too many are on their way.

        A topic that does not exist is made. Replies to one that the system itself reads are dropped.
        """
        await self._sender.reply(replies)

    def hint(self, topic: str, partition: int, nr: int) -> None:
        """Send a commit hint in the background; a lost one costs at most the tailer's poll interval."""
        self._sender.hint(topic, partition, nr)

    async def _reply_partitions(self, topic: str) -> int:
        """The number of partitions of a reply topic, which is made if it is missing. Raises `KafkaError`,
        `TopicError`."""
        present = await self.describe([topic])
        if topic not in present:
            now = time.monotonic()
            if len(self._made) == MADE_TOPICS and now - self._made[0] < DAY / 1000:
                raise TopicError(f"there is no such topic, and {MADE_TOPICS} were made in a day: make it")
            self._made.append(now)
            wanted = [reply_topic(topic, self._partitions)]
            present = dict(await ensure_topics(self._servers, wanted, **self._security))
        return present[topic].partitions

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
        tp = TopicPartition(topic, partition)
        async with self._probes.in_use() as probe:
            try:
                return int((await asyncio.wait_for(probe.end_offsets([tp]), PROBE_SECONDS))[tp])
            except Exception:  # whatever it was: one that is kept must not be broken
                self._probes.spent(probe)
                raise

    async def last_record(self, topic: str, partition: int, wanted: Callable[[Any], bool] = lambda record: True) -> Any:
        """The last record of a partition that is `wanted`, or None when it holds none; what others have put behind it,
        and the markers of transactions, are passed over. Raises `KafkaError`, `TimeoutError`."""
        async with _reader(self._servers, self._security, topic, partition) as (consumer, tp):
            return await last_wanted(consumer, tp, wanted)

    async def _first_record(self, topic: str, partition: int, start: int) -> Any:
        """By a consumer that is kept as long as it answers: who writes in transactions leaves a gap behind each."""
        tp = TopicPartition(topic, partition)
        async with self._looks:
            consumer = self._idle.pop() if self._idle else await _started(_consumer(self._servers, self._security))
            try:
                consumer.assign([tp])
                consumer.seek(tp, start)
                record = await asyncio.wait_for(consumer.getone(tp), PROBE_SECONDS)
            except BaseException:
                self._spawn(let_end(consumer))
                raise
            self._idle.append(consumer)
            return record


def _fill(records: Sequence[Record], start: int, most: int) -> tuple[BatchBuilder, int]:
    """A batch of the next records and their number: of one, however large it is, and of more up to so many bytes."""
    batch, count = BatchBuilder(most, 0, is_transactional=False), 0
    for key, value, headers in islice(records, start, None):
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            break
        count += 1
    return batch, count


async def _started(client: Any) -> Any:
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


def _consumer(servers: list[str], security: dict[str, Any]) -> AIOKafkaConsumer:
    """One without a group, which does not see what was taken back in a transaction."""
    return AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level="read_committed", **security
    )


class _reader:
    """A consumer without a group, of one partition."""

    def __init__(self, servers: list[str], security: dict[str, Any], topic: str, partition: int) -> None:
        self._tp = TopicPartition(topic, partition)
        self._consumer = _consumer(servers, security)

    async def __aenter__(self) -> tuple[AIOKafkaConsumer, TopicPartition]:
        await _started(self._consumer)
        self._consumer.assign([self._tp])
        return self._consumer, self._tp

    async def __aexit__(self, *error: object) -> None:
        await self._consumer.stop()


class CommandPartition:
    """A partition of a topic, as an owner looks at it."""

    def __init__(self, broker: KafkaClient, topic: str, partition: int, events: str = "") -> None:
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
            record = await self._broker.last_record(
                self._events, self._partition, lambda it: published_place(it.headers, stream) is not None
            )
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the last event of {self._events}-{self._partition}: {error!r}") from None
        place = published_place(record.headers, stream) if record is not None else None
        if place is not None:
            raise Unavailable(behind(Position(stream, *place), 0))

    async def gap_is_empty(self, start: int, end: int) -> bool:
        return await self._broker.gap_is_empty(self._topic, self._partition, start, end)
