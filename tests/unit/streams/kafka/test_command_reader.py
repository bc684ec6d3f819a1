"""Reading the commands of a log: from where its owner stands, and no more than it takes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import KafkaConnectionError, KafkaError, OffsetOutOfRangeError

from streams.concurrency.tasks import cancel
from streams.kafka import command_reader
from streams.kafka.command_reader import KafkaCommandReader, TopicGone
from streams.security.refusals import TopicForbidden
from tests.unit.until import until

P0, P3 = TopicPartition("order-commands", 0), TopicPartition("order-commands", 3)


class Kafka:
    """The partitions of a topic, and what was asked of it. Offsets are the records; `first` is what is left of them."""

    def __init__(self) -> None:
        self.records: dict[TopicPartition, list[int]] = {P0: [], P3: []}
        self.first: dict[TopicPartition, int] = defaultdict(int)
        self.came = asyncio.Event()
        self.polls = 0
        self.connected = self.looks = 0
        self.refuses: list[Exception] = []
        self.fails: list[Exception] = []
        self.clusters: list[Cluster] = []

    def put(self, tp: TopicPartition, *offsets: int) -> None:
        self.records[tp] += offsets
        self.came.set()

    def consumer(self, **options: Any) -> Consumer:
        self.options = options
        return Consumer(self)


class Cluster:
    """As aiokafka's: who listens hears of each look at the topics."""

    def __init__(self, kafka: Kafka) -> None:
        self.listeners: list[Callable[[Cluster], None]] = []
        self.add_listener, self.remove_listener = self.listeners.append, self.listeners.remove
        self._topics: set[str] = set()
        self.unauthorized_topics: set[str] = set()
        kafka.clusters.append(self)

    def topics(self) -> set[str]:
        return self._topics

    def look(self, *topics: str, forbidden: Iterable[str] = ()) -> None:
        """These there are, and of those it is not said."""
        self._topics, self.unauthorized_topics = set(topics), set(forbidden)
        for listener in list(self.listeners):
            listener(self)


class Consumer:
    """As aiokafka's."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.at: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.is_started = False
        self._fetcher = SimpleNamespace()
        self._client = SimpleNamespace(cluster=Cluster(kafka), _metadata_update=self._look)

    async def _look(self, cluster: Cluster, topics: Sequence[str]) -> bool:
        self.kafka.looks += 1
        return True

    async def start(self) -> None:
        if self.kafka.refuses:
            raise self.kafka.refuses.pop()
        self.kafka.connected += 1
        self.is_started = True

    async def stop(self) -> None:
        self.kafka.connected -= self.is_started

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.at = dict.fromkeys(partitions, -1)
        self.paused.clear()

    def pause(self, tp: TopicPartition) -> None:
        self.paused.add(tp)

    def resume(self, tp: TopicPartition) -> None:
        self.paused.remove(tp)
        self.kafka.came.set()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        assert tp in self.at
        self.at[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self.at[tp]

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.kafka.first[tp] for tp in partitions}

    async def getmany(self, timeout_ms: float, max_records: int) -> dict[TopicPartition, list[Any]]:
        kafka = self.kafka
        kafka.polls += 1
        assert kafka.polls < 1_000, "it never waits"
        if kafka.fails:
            raise kafka.fails.pop()
        for tp, at in self.at.items():
            if not kafka.first[tp] <= at <= max(kafka.records[tp], default=-1) + 1:
                raise OffsetOutOfRangeError({tp: at})
        found = {
            tp: [SimpleNamespace(offset=it) for it in kafka.records[tp] if it >= max(at, kafka.first[tp])][:max_records]
            for tp, at in self.at.items()
            if tp not in self.paused
        }
        found = {tp: records for tp, records in found.items() if records}
        if not found:
            kafka.came.clear()
            try:
                async with asyncio.timeout(timeout_ms / 1e3):
                    await kafka.came.wait()
            except TimeoutError:
                pass
            return {}
        for tp, records in found.items():
            self.at[tp] = records[-1].offset + 1
        return found


class Owner:
    """Takes what comes, when it may."""

    def __init__(self) -> None:
        self.got: list[tuple[int, int]] = []
        self.back: list[int] = []
        self.room = asyncio.Event()
        self.room.set()

    async def deliver(self, slice: int, records: Sequence[Any]) -> None:
        for record in records:
            await self.room.wait()
            self.got.append((slice, record.offset))

    def went_back(self, slice: int) -> None:
        self.back.append(slice)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    kafka = Kafka()
    monkeypatch.setattr(command_reader, "AGAIN_SECONDS", 0.01)
    return kafka


def command_reader_of(kafka: Kafka) -> KafkaCommandReader:
    clients: Any = SimpleNamespace(consumer=kafka.consumer)
    return KafkaCommandReader(clients, "order-commands", [0, 3])


@pytest.fixture
async def reader(kafka: Kafka) -> AsyncIterator[KafkaCommandReader]:
    async with command_reader_of(kafka) as reader:
        yield reader
    assert 0 == kafka.connected


async def test_from_where_its_owner_stands(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """Each slice from its own offset on, those of a slice in their order; nothing that was taken back."""
    kafka.put(P0, 0, 1, 2)
    kafka.put(P3, 0, 1)
    owner = Owner()
    running = asyncio.create_task(reader.run({0: 1, 3: 0}, owner))
    await until(lambda: len(owner.got) == 4)
    kafka.put(P3, 2)
    await until(lambda: len(owner.got) == 5)
    assert [(0, 1), (0, 2)] == [it for it in owner.got if it[0] == 0]
    assert [(3, 0), (3, 1), (3, 2)] == [it for it in owner.got if it[0] == 3]
    assert [] == owner.back
    assert ("read_committed", "none") == (kafka.options["isolation_level"], kafka.options["auto_offset_reset"])
    await cancel(running)


async def test_an_owner_that_has_enough(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """No more is taken from Kafka until it has taken what was delivered; then it goes on where it was."""
    owner = Owner()
    owner.room.clear()
    kafka.put(P0, *range(1_000))
    running = asyncio.create_task(reader.run({0: 0, 3: 0}, owner))
    await until(lambda: kafka.polls)
    await asyncio.sleep(0.02)
    assert (1, []) == (kafka.polls, owner.got)
    owner.room.set()
    await until(lambda: len(owner.got) == 1_000)
    assert [(0, offset) for offset in range(1_000)] == owner.got
    await cancel(running)


async def test_a_slice_that_waits_keeps_no_other_waiting(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """As while its owner looks into a gap: what came with it for other slices is taken."""
    owner, gap = Owner(), asyncio.Event()
    deliver = owner.deliver

    async def slow(slice: int, records: Sequence[Any]) -> None:
        if slice == 0:
            await gap.wait()
        await deliver(slice, records)

    owner.deliver = slow  # type: ignore[method-assign]
    kafka.put(P0, 0)
    kafka.put(P3, 0)
    running = asyncio.create_task(reader.run({0: 0, 3: 0}, owner))
    await until(lambda: owner.got)
    assert [(3, 0)] == owner.got
    gap.set()
    await until(lambda: len(owner.got) == 2)
    await cancel(running)


async def test_a_slice_that_is_held(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """Nothing of it is brought, and the other slice is read as before; it goes on where its owner says. Whoever reads
    anew has all slices."""
    reader.hold(0)  # before anybody reads
    owner = Owner()
    running = asyncio.create_task(reader.run({0: 0, 3: 0}, owner))
    kafka.put(P0, 0, 1, 2)
    await until(lambda: len(owner.got) == 3)
    reader.hold(0)
    kafka.put(P0, 3)
    kafka.put(P3, 0)
    await until(lambda: len(owner.got) == 4)
    assert (3, 0) == owner.got[-1]
    reader.go_on(0, 1)
    await until(lambda: len(owner.got) == 7)
    assert [(0, 1), (0, 2), (0, 3)] == owner.got[-3:]
    reader.hold(0)
    await cancel(running)
    reader.go_on(0, 0)  # nobody reads
    owner = Owner()
    running = asyncio.create_task(reader.run({0: 3, 3: 1}, owner))
    await until(lambda: owner.got)
    assert [(0, 3)] == owner.got
    await cancel(running)


async def test_commands_that_kafka_has_lost(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """The slice whose offset Kafka has no more is read from the first that is there, and its owner is told, again and
    again while it is behind; the other slice is read as before."""
    kafka.put(P0, 0, 1)
    kafka.put(P3, 0)
    owner = Owner()
    running = asyncio.create_task(reader.run({0: 5, 3: 0}, owner))
    await until(lambda: len(owner.back) > 2)
    assert {0} == set(owner.back)
    assert [(0, 0), (0, 1), (3, 0)] == sorted(owner.got)
    kafka.put(P0, *range(2, 6))
    kafka.put(P3, 1)
    await until(lambda: (0, 5) in owner.got and (3, 1) in owner.got)
    await asyncio.sleep(0.03)
    told = len(owner.back)
    await asyncio.sleep(0.05)
    assert told == len(owner.back)
    await cancel(running)


async def test_commands_that_were_removed(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """By retention, before anybody decided them: it goes on at the first one that is left, and nobody is behind."""
    kafka.put(P0, *range(10))
    kafka.first[P0] = 7
    owner = Owner()
    running = asyncio.create_task(reader.run({0: 2, 3: 0}, owner))
    await until(lambda: owner.got)
    assert [(0, 7), (0, 8), (0, 9)] == owner.got
    assert [] == owner.back
    await cancel(running)


async def test_run_again(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """For the next owner of the log, from where that one stands, by the same connection."""
    kafka.put(P0, 0, 1)
    for _ in range(2):
        owner = Owner()
        running = asyncio.create_task(reader.run({0: 0, 3: 0}, owner))
        await until(lambda owner=owner: len(owner.got) == 2)
        await cancel(running)
    assert 1 == kafka.connected


async def test_a_broker_that_does_not_answer(kafka: Kafka) -> None:
    """It is waited for. One who leaves does not wait."""
    kafka.refuses = [KafkaConnectionError("down")]
    kafka.put(P0, 0)
    owner = Owner()
    async with command_reader_of(kafka) as reader:
        running = asyncio.create_task(reader.run({0: 0, 3: 0}, owner))
        await until(lambda: owner.got)
        await cancel(running)
    kafka.refuses = [KafkaConnectionError("down")] * 100
    async with asyncio.timeout(20), command_reader_of(kafka):
        await asyncio.sleep(0.01)
    assert 0 == kafka.connected


async def test_a_consumer_that_fails(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """Its error is raised, and whoever reads again has another consumer."""
    kafka.fails = [KafkaError("unexpected")]
    owner = Owner()
    with pytest.raises(KafkaError, match="unexpected"):
        await reader.run({0: 0, 3: 0}, owner)
    assert 0 == kafka.connected
    kafka.put(P0, 0)
    running = asyncio.create_task(reader.run({0: 0, 3: 0}, owner))
    await until(lambda: owner.got)
    await cancel(running)


async def test_a_topic_that_is_deleted(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """It is said as soon as Kafka says it: a topic of that name would be read by the offsets of this one. That nothing
    is known of it yet, before the first look, is no deletion."""
    owner = Owner()
    running = asyncio.create_task(reader.run({0: 0, 3: 0}, owner))
    await until(lambda: kafka.polls)
    [cluster] = kafka.clusters
    cluster.look()
    cluster.look("order-commands")
    kafka.put(P0, 0)
    await until(lambda: owner.got)
    cluster.look("replies")
    with pytest.raises(TopicGone, match="no topic order-commands any more"):
        await running
    assert [] == cluster.listeners


def test_no_more_is_asked_for_than_was_taken() -> None:
    """By a name that aiokafka may change: while records wait, no request goes out."""
    assert "_prefetch_backoff" in Fetcher._proc_fetch_request.__code__.co_names
    assert "calculate_backoff" in Fetcher._get_actions_per_node.__code__.co_names


async def test_a_topic_that_may_not_be_looked_at(kafka: Kafka, reader: KafkaCommandReader) -> None:
    """It is not said to be deleted: the owner's place in it stays good for the time when it may be read again."""
    owner = Owner()
    running = asyncio.create_task(reader.run({0: 0, 3: 0}, owner))
    await until(lambda: kafka.polls)
    [cluster] = kafka.clusters
    cluster.look("order-commands")
    cluster.look(forbidden=["order-commands"])
    with pytest.raises(TopicForbidden, match="order-commands: this process may not look at it: grant Describe"):
        await running
    assert [] == cluster.listeners
