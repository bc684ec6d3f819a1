"""Commands as the owner of a log reads them: without a group, by a consumer of its own, over a network that fails.

The product's own reader runs here; simulated is the client of Kafka below it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.concurrency.retry import until_it_answers
from streams.kafka.command_reader import KafkaCommandReader
from tests.simulation.kafka import Partition, Record
from tests.simulation.topics import COMMANDS_TOPIC
from tests.simulation.wire import read

if TYPE_CHECKING:
    from tests.simulation.world import World

Batches = dict[TopicPartition, list[Record]]
Offsets = dict[TopicPartition, int]

FETCH = 5
"""Records of a partition that an answer holds at most."""


class SimulatedCommandReader(KafkaCommandReader):
    """The product's reader with a simulated consumer."""

    def __init__(self, world: World, slices: Iterable[int]) -> None:
        super().__init__([], COMMANDS_TOPIC, slices)
        self._world = world

    async def _connect(self) -> Any:
        return SimulatedConsumer(self._world)


class Cluster:
    """As aiokafka's: the topics that there are, as far as its consumer knows."""

    def __init__(self) -> None:
        self._topics = {COMMANDS_TOPIC}
        self.unauthorized_topics: frozenset[str] = frozenset()
        self._listeners: list[Callable[[Cluster], None]] = []

    def topics(self) -> Collection[str]:
        return self._topics

    def add_listener(self, listener: Callable[[Cluster], None]) -> None:
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[Cluster], None]) -> None:
        self._listeners.remove(listener)

    def update(self, *topics: str) -> None:
        """These there are."""
        self._topics = set(topics)
        for listener in list(self._listeners):
            listener(self)


class SimulatedConsumer:
    """As aiokafka's, as far as the reader uses it. What it was given before comes again now and then, and something
    is left out. A fetch that meets another incarnation of the topic than the one before brings nothing: it met none."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._at: Offsets = {}
        self._topic_id = ""
        self._paused: set[TopicPartition] = set()
        self._arrived: asyncio.Future[None] | None = None
        self._client = SimpleNamespace(cluster=Cluster())

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._at = dict.fromkeys(partitions, 0)
        self._topic_id = ""
        self._paused.clear()
        self._client.cluster.update(COMMANDS_TOPIC)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._at[partition] = offset

    def pause(self, partition: TopicPartition) -> None:
        self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._paused.discard(partition)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def position(self, partition: TopicPartition) -> int:
        return self._at[partition]

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await self._ask(lambda: {tp: self._log(tp).first for tp in partitions})

    async def stop(self) -> None:
        pass

    async def getmany(self, timeout_ms: float, max_records: int) -> Mapping[TopicPartition, Sequence[Any]]:
        """What the partitions have; waits for so long while it is nothing. Raises `OffsetOutOfRangeError`."""
        loop = self._world.loop
        until = loop.time() + timeout_ms / 1000
        while True:
            topic_id, found, starts, ends, lost = await self._ask(self._fetch)
            for tp in self._at:  # what was asked for before its partition was paused, or went elsewhere
                if tp in self._paused or self._at[tp] != starts.get(tp):
                    found.pop(tp, None)
                    ends[tp] = self._at[tp]
            if self._topic_id not in ("", topic_id):
                self._client.cluster.update()
                await loop.create_future()
            self._topic_id, self._at = topic_id, ends
            if lost:
                raise OffsetOutOfRangeError(lost)
            if found or loop.time() >= until:
                return {tp: read(tp.topic, tp.partition, records) for tp, records in found.items()}
            await self._arrival(until - loop.time())

    def _log(self, tp: TopicPartition) -> Partition:
        return self._world.kafka.partition(tp.topic, tp.partition)

    async def _ask(self, look: Any) -> Any:
        world = self._world
        return await until_it_answers(lambda: world.network.ask("kafka", look), "Kafka: reading commands", KafkaError)

    def _fetch(self) -> tuple[str, Batches, Offsets, Offsets, Offsets]:
        """At the broker: the incarnation of the topic, what it has, from where and to where, and the offsets that it
        lacks."""
        found: Batches = {}
        starts, ends = dict(self._at), dict(self._at)
        topic = self._world.kafka.topics.get(COMMANDS_TOPIC)
        if topic is None:
            return "none", {}, starts, ends, {}
        for tp, at in self._at.items():
            if tp in self._paused or (tp.topic, tp.partition) in self._world.kafka.without_leader:
                continue
            log = topic.partitions[tp.partition]
            if not log.first <= at <= len(log.records):
                return topic.id, {}, starts, ends, {tp: at}
            if at <= log.last_message:
                at = max(log.first, min(at + self._world.faults.slip(tp.topic), log.last_message))
                records = log.after(at, self._world.random.randint(1, FETCH))
                if records:
                    found[tp] = records
                ends[tp] = records[-1].offset + 1 if records else min(at + FETCH, len(log.records))
        return topic.id, found, starts, ends, {}

    async def _arrival(self, seconds: float) -> None:
        """Wait for a record on any of the partitions."""
        self._arrived = arrival = self._world.loop.create_future()
        for tp in self._at:
            with contextlib.suppress(KafkaError):
                self._log(tp).waiting.append(arrival)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await arrival
