"""The worker's own Kafka client: it sends records in batches that their topics take, and looks at partitions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.commit import OffsetCommitRequest

from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import all_of
from streams.kafka.client_factory import ClientFactory, SharedClient, started
from streams.kafka.probes import Probes
from streams.kafka.sender import ProducerRecord as ProducerRecord
from streams.kafka.sender import Sender
from streams.kafka.topic_limits import RecordTooLarge as RecordTooLarge
from streams.kafka.topic_limits import TopicLimits, ask_largest
from streams.kafka.topic_metadata import TopicMetadata, existing, look, may_join, read_metadata
from streams.kafka.topics import DAY, TopicError, ensure_topics, reply_topic
from streams.security.refusals import NothingWritable, TopicForbidden
from streams.security.reply_topics import ANYWHERE, ReplyTopics
from streams.slices import partition_of as partition_of

log = logging.getLogger(__name__)

T = TypeVar("T")

MADE_TOPICS = 1_000
"""The most reply topics that a worker makes within a day; existing topics do not count."""
BATCH_BYTES = 256 * 1024
BATCH_OVERHEAD = 128
"""Bytes that Kafka adds to a record without headers that is alone in a batch, at most: 61 of the batch, its lengths."""
MISNUMBERED = 5
"""The attempts at a batch that came behind a refused one."""

Offsets = Mapping[str, Mapping[int, int]]
"""By topic and partition the offset of the first record that is not done."""


class KafkaClient:
    """Started and stopped with the worker. All sends are idempotent and wait for all replicas."""

    def __init__(self, clients: ClientFactory, partitions: int, replies: ReplyTopics = ANYWHERE) -> None:
        self._clients = clients
        self._replies = replies
        self._partitions = partitions
        self._producers: SharedClient[Any] = SharedClient(self._new_producer, self._spawn)
        self._limits = TopicLimits(self._ask_largest)
        self._sender = Sender(self.send, self._reply_partitions, self._spawn, replies)
        self._made: deque[float] = deque(maxlen=MADE_TOPICS)
        """The times at which reply topics were made, the latest ones."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._probes = Probes(clients, self._spawn)

    @property
    def producer(self) -> AIOKafkaProducer:
        assert self._producers.current is not None, "the broker is not started"
        return self._producers.current

    async def start(self) -> None:
        """Connect. Raises `KafkaError`."""
        await self._producers.get()

    async def _new_producer(self) -> AIOKafkaProducer:
        options = {"acks": "all", "enable_idempotence": True, "linger_ms": 0, "max_batch_size": BATCH_BYTES}
        try:
            return await started(self._clients.producer(**options))
        except ClusterAuthorizationFailedError:
            raise NothingWritable from None

    async def stop(self) -> None:
        """Send the waiting records, then disconnect."""
        self._sender.end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        await self._probes.stop()
        await self._producers.stop()

    async def describe(self, topics: Iterable[str]) -> dict[str, TopicMetadata]:
        """The metadata of the topics that exist. Raises `KafkaError`."""
        async with self._producers.in_use() as producer:
            return await read_metadata(producer.client, topics)

    async def existing(self, topics: Iterable[str]) -> dict[str, TopicMetadata | None]:
        """The metadata of the topics that exist, None where Kafka cannot say yet. Raises `KafkaError`."""
        async with self._producers.in_use() as producer:
            return await existing(producer.client, topics)

    async def look(self, topics: Iterable[str]) -> tuple[dict[str, TopicMetadata | None], list[str]]:
        """The same of those topics that this process may look at, and those that it may not. Raises `KafkaError`."""
        wanted = list(topics)
        return await self._ask(lambda client: look(client, wanted))

    async def may_join(self, group: str) -> bool:
        """Whether this process may be a member of a consumer group. Raises `KafkaError`."""
        return await self._ask(lambda client: may_join(client, group))

    async def _ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """The answer to a question about rights, also where the producer cannot start for want of any."""
        try:
            async with self._producers.in_use() as producer:
                return await question(producer.client)
        except NothingWritable:
            async with self._clients.administering() as admin:
                return await question(admin._client)

    async def commit_offsets(self, group: str, offsets: Offsets) -> None:
        """Commit offsets of a group that has no members. Raises `KafkaError`."""
        topics = [(topic, [(partition, at, "") for partition, at in of.items()]) for topic, of in offsets.items()]
        nobody = OffsetCommitRequest.DEFAULT_GENERATION_ID, "", OffsetCommitRequest.DEFAULT_RETENTION_TIME
        async with self._producers.in_use() as producer:
            broker = await producer.client.coordinator_lookup(CoordinationType.GROUP, group)
            response = await producer.client.send(broker, OffsetCommitRequest(group, *nobody, topics))
        for _, partitions in response.topics:
            for _, code in partitions:
                if code:
                    raise for_code(code)(group)

    # -- records of one partition ------------------------------------------------------------------------

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        """Send records of one partition in order; durable on return, however long it takes. Returns the last offset.

        After an error all of them are sent again, so a reader may see a record twice, but none without those before it.
        A record that is too large waits until the topic takes it; with `refuse` it raises `RecordTooLarge`.
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

    async def require_room(self, topic: str, records: Sequence[ProducerRecord]) -> None:
        """Raise `RecordTooLarge` where the topic is known for taking less than one of these. Raises `KafkaError`,
        `TimeoutError`."""
        if topic not in self._limits:
            return
        limit = await self.largest(topic)
        for record in records:  # a batch of several is never larger than what the topic takes
            key, value, headers = record
            if headers or len(key or b"") + len(value or b"") > limit - BATCH_OVERHEAD:
                batch, _ = _fill([record], 0, limit)
                if batch.size() > limit:
                    raise RecordTooLarge(topic, batch.size(), limit, 0)

    async def send(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> int:
        """Send records of one partition in order, once. Returns the last offset, when the broker has all of them.

        Each batch is sent when the one before it is acknowledged, so that no record stands behind a refused one. An
        idempotent producer of aiokafka has only one batch of a partition on its way, so more would gain nothing. Raises
        `RecordTooLarge`, `KafkaError`, `TimeoutError`.
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
            except OutOfOrderSequenceNumber:  # an earlier batch was refused: another producer takes this one
                misnumbered += 1
                if misnumbered == MISNUMBERED:
                    raise
            else:
                sent += count
        return last

    async def _deliver(self, topic: str, partition: int, batch: BatchBuilder) -> int:
        return int((await self.deliver(lambda producer: producer.send_batch(batch, topic, partition=partition))).offset)

    async def deliver(self, hand_over: Callable[[AIOKafkaProducer], Awaitable[Awaitable[Any]]]) -> Any:
        """The broker's answer to the records that `hand_over` gives to the producer, by `send` or `send_batch`. All
        records are sent in this way. Raises `KafkaError`."""
        async with self._producers.in_use() as producer:
            try:
                delivered = await hand_over(producer)
            except TopicAuthorizationFailedError as error:
                raise TopicForbidden.of(error) from None
            try:
                return await delivered
            except KafkaError as error:
                # The producer has counted the records of the batch all the same, and all that it sends to that
                # partition from now on is refused as out of order: another producer takes its place.
                self._producers.spent(producer)
                if isinstance(error, TopicAuthorizationFailedError):
                    raise TopicForbidden.of(error, "write to", "Write") from None
                raise

    async def largest(self, topic: str) -> int:
        """The bytes of the largest batch that a topic takes, with all that Kafka adds; Kafka is asked twice a minute.

        While Kafka does not answer, the last answer holds. Raises `KafkaError`, `TimeoutError` where there is none.
        """
        return await self._limits.largest(topic)

    async def _ask_largest(self, topic: str) -> int:
        async with self._producers.in_use() as producer:
            return await ask_largest(producer.client, topic)

    async def _most(self, topic: str) -> int:
        """The bytes of a batch: 256 KB, or less where the topic is known to take less."""
        return BATCH_BYTES if topic not in self._limits else min(BATCH_BYTES, await self.largest(topic))

    async def _was_refused(self, topic: str, batch: BatchBuilder, count: int, sent: int) -> None:
        """Learn that a topic takes less than was known. Raises `RecordTooLarge` if the batch was one record."""
        limit = min(await self._ask_largest(topic), batch.size() - 1 if count == 1 else batch.size() // 2)
        self._limits.learn(topic, limit)
        if count == 1:
            raise RecordTooLarge(topic, batch.size(), limit, sent)

    # -- replies and hints -----------------------------------------------------------------------------

    @property
    def replies_unsent(self) -> int:
        """Replies on their way to Kafka."""
        return self._sender.pending

    @property
    def replies_lost(self) -> int:
        """Replies that could not be sent, or may not."""
        return self._sender.lost

    async def reply(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        """Send replies (topic, key, value) in the background; waits while too many are on their way.

        A topic that does not exist is made. Replies to one that is not allowed are dropped.
        """
        await self._sender.reply(replies)

    def hint(self, topic: str, partition: int, value: bytes) -> None:
        """Send a commit hint in the background, again and again until Kafka has it, or a newer one."""
        self._sender.hint(topic, partition, value)

    async def _reply_partitions(self, topic: str) -> int:
        """The number of partitions of a reply topic, which is made if it is missing. Raises `KafkaError`,
        `TopicError`."""
        present = await self.describe([topic])
        if topic not in present:
            if not self._replies.are_made:
                raise TopicError("there is no such topic, and SETUP=never: make it")
            now = time.monotonic()
            if len(self._made) == MADE_TOPICS and now - self._made[0] < DAY / 1000:
                raise TopicError(f"there is no such topic, and {MADE_TOPICS} were made in a day: make it")
            self._made.append(now)
            wanted = [reply_topic(topic, self._partitions)]
            present = dict(await ensure_topics(self._clients, wanted))
        return present[topic].partitions

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- looks at the log ------------------------------------------------------------------------------

    async def gap_is_empty(self, topic: str, partition: int, start: int, end: int) -> bool:
        """Whether Kafka has no record for readers with start <= offset < end: there are markers of transactions, or
        records were removed.

        False also when Kafka does not answer: to read again from `start` is always right.
        """
        try:
            record = await self.first_record(topic, partition, start)
        except (KafkaError, TimeoutError):
            return False
        return record is not None and record.offset >= end

    async def end_offset(self, topic: str, partition: int) -> int:
        """The offset that the next record of a partition gets. Raises `KafkaError`, `TimeoutError`."""
        return (await self.end_offsets(topic, [partition]))[partition]

    async def end_offsets(self, topic: str, partitions: Iterable[int]) -> Mapping[int, int]:
        """The offset that the next record of each of these partitions gets. Raises `KafkaError`, `TimeoutError`."""
        ends = await self._probes.end_offsets([TopicPartition(topic, partition) for partition in partitions])
        return {tp.partition: end for tp, end in ends.items()}

    async def last_record(self, topic: str, partition: int, wanted: Callable[[Any], bool] = lambda record: True) -> Any:
        """The last record of a partition that is `wanted`, None where there is none. Other records behind it, and
        markers of transactions, are passed over. Raises `KafkaError`, `TimeoutError`."""
        return await self._probes.last_record(TopicPartition(topic, partition), wanted)

    async def last_records(
        self, topic: str, partitions: Iterable[int], wanted: Callable[[int, Any], bool]
    ) -> Mapping[int, Any]:
        """The `last_record` of each of these partitions that is `wanted`, by partition and record: by one look for all
        where these are the last ones. Raises `KafkaError`, `TimeoutError`."""
        newest = await self._probes.newest([TopicPartition(topic, partition) for partition in partitions])
        found = {tp.partition: record for tp, record in newest.items() if record and wanted(tp.partition, record)}
        others = [tp.partition for tp in newest if tp.partition not in found]
        looks = (self.last_record(topic, partition, partial(wanted, partition)) for partition in others)
        return found | dict(zip(others, await all_of(looks), strict=True))

    async def first_record(self, topic: str, partition: int, start: int) -> Any:
        return await self._probes.first_record(TopicPartition(topic, partition), start)


def _fill(records: Sequence[ProducerRecord], start: int, most: int) -> tuple[BatchBuilder, int]:
    """A batch of the next records, and their number: up to `most` bytes, or one record, however large it is."""
    batch, count = BatchBuilder(most, 0, is_transactional=False), 0
    for key, value, headers in islice(records, start, None):
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            break
        count += 1
    return batch, count
