"""Kafka as its clients see it: topics, partitions, and a producer over a network that fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
)

from streams.kafka.client import KafkaClient, ProducerRecord
from streams.kafka.probes import PROBE_SECONDS
from streams.kafka.topic_limits import USUAL_LARGEST
from streams.kafka.topic_metadata import TopicMetadata
from tests.simulation.wire import read, unpacked

if TYPE_CHECKING:
    from aiokafka.producer.message_accumulator import BatchBuilder

    from tests.simulation.world import World

BATCHES = 150, 300, 256 * 1024
"""Bytes of batches: mostly so small that what is sent together needs several."""


class Record(NamedTuple):
    """A message in a partition. A transaction marker has an offset too, and is never delivered.

    `foreign`: somebody else has put it there. `damage` says how its bytes are not as they should be."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: float = 0.0
    marker: bool = False
    foreign: bool = False
    damage: str = ""


class Partition:
    """A log of records; `waiting` are those who want to know of the next one."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.first = 0
        """The offset of the oldest that can be read; the others are kept for those who check."""
        self.last_message = -1
        self.waiting: list[asyncio.Future[None]] = []
        self.lost: set[int] = set()
        """Offsets at which there is nothing any more."""
        self.gone = False
        """The topic is deleted."""
        self._due: dict[int, int] = {}

    def is_due(self, producer: int, sequence: int, count: int) -> bool:
        """Whether a batch is the next of its producer; not when it came before. Of a producer that it does not know
        the broker takes any. Raises `OutOfOrderSequenceNumber`."""
        due = self._due.get(producer, sequence)
        if sequence > due:
            raise OutOfOrderSequenceNumber
        if sequence == due:
            self._due[producer] = sequence + count
        return sequence == due

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Any,
        now: float,
        marker: bool = False,
        foreign: bool = False,
        damage: str = "",
    ) -> int:
        """Returns the offset."""
        offset = len(self.records)
        self.records.append(Record(offset, key, value, tuple(headers), now, marker, foreign, damage))
        if not marker:
            self.last_message = offset
        self.wake()
        return offset

    def wake(self) -> None:
        """Let those who wait look again."""
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def after(self, offset: int, limit: int) -> list[Record]:
        """Up to `limit` messages from `offset` on, without markers and what retention has removed."""
        offset = max(offset, self.first)
        there = (record for record in self.records[offset:] if not record.marker and record.offset not in self.lost)
        return list(islice(there, limit))


class Topic:
    """One incarnation of a topic."""

    def __init__(self, name: str, id: str, partitions: int) -> None:
        self.name = name
        self.id = id
        self.partitions = [Partition() for _ in range(partitions)]


class Kafka:
    """The topics by name as the broker has them now; all that ever were by id."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.without_leader: set[tuple[str, int]] = set()
        """Partitions that can be neither read nor written."""
        self.incarnations: dict[str, Topic] = {}
        self.limits: dict[str, int] = {}
        """What topics take, in bytes, where it is not what Kafka's take usually."""
        self._producers = 0

    def new_producer(self) -> int:
        """The id of a producer."""
        self._producers += 1
        return self._producers

    def largest(self, topic: str) -> int:
        """The bytes of the largest batch that a topic takes."""
        return self.limits.get(topic, USUAL_LARGEST)

    def create(self, name: str, partitions: int) -> Topic:
        """Make a topic: a new incarnation when there was one before."""
        topic = Topic(name, f"{name}#{len(self.incarnations)}", partitions)
        self.topics[name] = self.incarnations[topic.id] = topic
        return topic

    def leaderless(self, topic: Topic) -> frozenset[int]:
        """The partitions of a topic that have no leader."""
        return frozenset(number for name, number in self.without_leader if name == topic.name)

    def delete(self, name: str) -> None:
        """A topic is no more."""
        for partition in self.topics.pop(name).partitions:
            partition.gone = True
            partition.wake()

    def history(self, name: str, partition: int) -> list[Record]:
        """All records that ever were in a partition of that name, with those of earlier topics before."""
        topics = [topic for topic in self.incarnations.values() if topic.name == name]
        return [record for topic in topics for record in topic.partitions[partition].records]

    def partition(self, name: str, partition: int) -> Partition:
        """Raises `KafkaConnectionError` while the topic does not exist, or the partition has no leader."""
        topic = self.topics.get(name)
        if topic is None:
            raise KafkaConnectionError(f"unknown topic {name}")
        if (name, partition) in self.without_leader:
            raise KafkaConnectionError(f"no leader of {name}-{partition}")
        return topic.partitions[partition]


class SimulatedBroker(KafkaClient):
    """The worker's Kafka client over the simulated network; what it does with that is the product's own code."""

    def __init__(self, world: World, partitions: int, sending: Callable[[], None] = lambda: None) -> None:
        super().__init__([], partitions)
        self._world = world
        self._sending = sending
        self._producers.current = SimulatedProducer(world)

    async def describe(self, topics: Iterable[str]) -> dict[str, TopicMetadata]:
        wanted, kafka = list(topics), self._world.kafka

        def look() -> dict[str, TopicMetadata]:
            present = [kafka.topics[name] for name in wanted if name in kafka.topics]
            return {
                topic.name: TopicMetadata(topic.id, len(topic.partitions), without_leader=kafka.leaderless(topic))
                for topic in present
            }

        return await self._world.network.ask("kafka", look)

    async def _new_producer(self) -> Any:
        return SimulatedProducer(self._world)

    async def send(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> int:
        self._sending()
        return await super().send(topic, partition, records)

    async def _most(self, topic: str) -> int:
        return min(await super()._most(topic), self._world.random.choice(BATCHES))

    async def _ask_largest(self, topic: str) -> int:
        return await self._world.network.ask("kafka", lambda: self._world.kafka.largest(topic))

    def hint(self, topic: str, partition: int, value: bytes) -> None:
        said = self._world.faults.hint(value)
        if said is not None:
            super().hint(topic, partition, said)

    async def end_offsets(self, topic: str, partitions: Iterable[int]) -> Mapping[int, int]:
        wanted, kafka = list(partitions), self._world.kafka
        return await self._world.network.ask(
            "kafka", lambda: {partition: len(kafka.partition(topic, partition).records) for partition in wanted}
        )

    async def last_record(self, topic: str, partition: int, wanted: Callable[[Any], bool] = lambda record: True) -> Any:
        def look() -> Any:
            log = self._world.kafka.partition(topic, partition)
            records = read(topic, partition, log.after(log.first, len(log.records)))
            return next(filter(wanted, reversed(records)), None)

        return await self._world.network.ask("kafka", look)

    async def last_records(
        self, topic: str, partitions: Iterable[int], wanted: Callable[[int, Any], bool]
    ) -> Mapping[int, Any]:
        wanted_of = {one: partial(wanted, one) for one in partitions}
        return {one: await self.last_record(topic, one, fits) for one, fits in wanted_of.items()}

    async def first_record(self, topic: str, partition: int, start: int) -> Record:
        def look() -> list[Record]:
            return self._world.kafka.partition(topic, partition).after(start, 1_000)

        records = await self._world.network.ask("kafka", look)
        if not records:
            await asyncio.sleep(PROBE_SECONDS)
            raise TimeoutError
        return records[0]


class _Metadata(NamedTuple):
    offset: int


class SimulatedProducer:
    """An idempotent producer as aiokafka has it: it numbers what it sends to a partition, also what is refused."""

    def __init__(self, world: World) -> None:
        self.id = world.kafka.new_producer()
        self._world = world
        self._lines: dict[tuple[str, int], _Line] = {}

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[_Metadata]:
        line = self._lines.get((topic, partition))
        if line is None:
            line = self._lines[topic, partition] = _Line(self._world, self.id, topic, partition)
        return line.put(batch)

    async def stop(self) -> None:
        """What is on its way goes on."""


class _Line:
    """What a producer has for one partition: batches that go in order, one at a time.

    When the producer gives one up, whether it has arrived is unknown, and what waits behind it is given up too.
    """

    def __init__(self, world: World, producer: int, topic: str, partition: int) -> None:
        self._world = world
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._queue: deque[tuple[BatchBuilder, asyncio.Future[_Metadata]]] = deque()
        self._sequence = 0
        self._task: asyncio.Task[None] | None = None

    def put(self, batch: BatchBuilder) -> asyncio.Future[_Metadata]:
        future: asyncio.Future[_Metadata] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._queue.append((batch, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())
        return future

    async def _send(self) -> None:
        world = self._world
        while self._queue:
            # Until it leaves the process, a stopped process keeps it back.
            await asyncio.sleep(world.random.uniform(0.0002, 0.004))
            batch, future = self._queue.popleft()
            size, records = unpacked(batch)
            arrive = partial(self._arrive, self._sequence, size, records)
            self._sequence += len(records)
            try:
                first = await world.network.ask("produce", arrive)
            except KafkaConnectionError:
                self._queue.appendleft((batch, future))
                while self._queue:
                    _, lost = self._queue.popleft()
                    if not lost.done():
                        lost.set_exception(KafkaTimeoutError())
                return
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(_Metadata(first))

    def _arrive(self, sequence: int, size: int, records: Sequence[ProducerRecord]) -> int:
        world = self._world
        partition = world.kafka.partition(self._topic, self._partition)
        if size > world.kafka.largest(self._topic):
            world.note("refused", self._topic, self._partition, size)
            raise MessageSizeTooLargeError
        if not partition.is_due(self._producer, sequence, len(records)):
            return -1
        offsets = [partition.append(*record, world.wall()) for record in records]
        world.arrived(self._topic, self._partition, records)
        return offsets[0]
