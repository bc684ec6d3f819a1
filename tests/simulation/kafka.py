"""Kafka as its clients see it: topics, partitions, and a producer over a network that fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from streams.broker import PROBE_SECONDS, USUAL_LARGEST, Broker
from streams.broker import Record as Unsent
from streams.topic_ids import Described

if TYPE_CHECKING:
    from tests.simulation.world import World

MOST_IN_BATCH = 3


class Record(NamedTuple):
    """A message in a partition. A transaction marker has an offset too, and is never delivered."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: float = 0.0
    marker: bool = False


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

    def append(self, key: bytes | None, value: bytes | None, headers: Any, now: float, marker: bool = False) -> int:
        """Returns the offset."""
        offset = len(self.records)
        self.records.append(Record(offset, key, value, tuple(headers), now, marker))
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
        self.incarnations: dict[str, Topic] = {}

    def create(self, name: str, partitions: int) -> Topic:
        """Make a topic: a new incarnation when there was one before."""
        topic = Topic(name, f"{name}#{len(self.incarnations)}", partitions)
        self.topics[name] = self.incarnations[topic.id] = topic
        return topic

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
        """Raises `KafkaConnectionError` while the topic does not exist."""
        topic = self.topics.get(name)
        if topic is None:
            raise KafkaConnectionError(f"unknown topic {name}")
        return topic.partitions[partition]


class SimulatedBroker(Broker):
    """The worker's Kafka client over the simulated network; what it does with that is the product's own code."""

    def __init__(self, world: World, partitions: int, sending: Callable[[], None] = lambda: None) -> None:
        super().__init__([], partitions)
        self._world = world
        self._sending = sending
        self._lines: dict[tuple[str, int], _Line] = {}

    async def describe(self, topics: Iterable[str]) -> dict[str, Described]:
        wanted, kafka = list(topics), self._world.kafka

        def look() -> dict[str, Described]:
            present = [kafka.topics[name] for name in wanted if name in kafka.topics]
            return {topic.name: Described(topic.id, len(topic.partitions)) for topic in present}

        return await self._world.network.ask("kafka", look)

    async def send(self, topic: str, partition: int, records: Sequence[Unsent]) -> int:
        line = self._lines.get((topic, partition))
        if line is None:
            line = self._lines[topic, partition] = _Line(self._world, topic, partition)
        self._sending()
        last, left = -1, list(records)
        while left:
            size = self._world.random.randint(1, MOST_IN_BATCH)
            batch, left = left[:size], left[size:]
            last = (await line.put(batch)).offset + len(batch) - 1
        return last

    async def largest(self, topic: str) -> int:
        return USUAL_LARGEST

    def hint(self, topic: str, partition: int, nr: int) -> None:
        said = self._world.faults.hint(nr)
        if said is not None:
            super().hint(topic, partition, said)

    async def end_offset(self, topic: str, partition: int) -> int:
        return await self._world.network.ask(
            "kafka", lambda: len(self._world.kafka.partition(topic, partition).records)
        )

    async def last_record(
        self, topic: str, partition: int, wanted: Callable[[Any], bool] = lambda record: True
    ) -> Record | None:
        def look() -> Record | None:
            log = self._world.kafka.partition(topic, partition)
            return next((it for it in reversed(log.after(log.first, len(log.records))) if wanted(it)), None)

        return await self._world.network.ask("kafka", look)

    async def _first_record(self, topic: str, partition: int, start: int) -> Record:
        def look() -> list[Record]:
            return self._world.kafka.partition(topic, partition).after(start, 1_000)

        records = await self._world.network.ask("kafka", look)
        if not records:
            await asyncio.sleep(PROBE_SECONDS)
            raise TimeoutError
        return records[0]


class _Metadata(NamedTuple):
    offset: int


class _Line:
    """What an idempotent producer has for one partition: batches that arrive in order, one at a time, each once.

    When the producer gives one up, whether it has arrived is unknown, and what waits behind it is given up too.
    """

    def __init__(self, world: World, topic: str, partition: int) -> None:
        self._world = world
        self._topic = topic
        self._partition = partition
        self._queue: deque[tuple[Sequence[Unsent], asyncio.Future[_Metadata]]] = deque()
        self._sequence = 0
        self._newest = 0
        self._task: asyncio.Task[None] | None = None

    def put(self, batch: Sequence[Unsent]) -> asyncio.Future[_Metadata]:
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
            batch, future = self._queue[0]
            self._sequence += 1
            arrive = partial(self._arrive, self._sequence, batch)
            try:
                first = await world.network.ask("produce", arrive)
            except KafkaConnectionError:
                while self._queue:
                    _, lost = self._queue.popleft()
                    if not lost.done():
                        lost.set_exception(KafkaTimeoutError())
                return
            self._queue.popleft()
            if not future.done():
                future.set_result(_Metadata(first))

    def _arrive(self, sequence: int, batch: Sequence[Unsent]) -> int:
        if sequence < self._newest:
            return -1  # the broker refuses an old sequence number
        self._newest = sequence
        partition = self._world.kafka.partition(self._topic, self._partition)
        offsets = [partition.append(*record, self._world.wall()) for record in batch]
        self._world.arrived(self._topic, self._partition, batch)
        return offsets[0]
