"""How a feed shares one consumer among partitions: what fails is heard of, and what was sought is what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher

from projections.applying import topic_reader
from projections.applying.topic_reader import KafkaTopicReader, ReadingFailed


class Record(NamedTuple):
    offset: int
    value: bytes = b""


class Driver:
    """In the place of aiokafka's consumer: gives what a test puts there, and raises what it puts there."""

    made: list[Driver] = []  # noqa: RUF012

    def __init__(self, **options: object) -> None:
        self.found: asyncio.Queue[Mapping[TopicPartition, Sequence[Record]] | Exception] = asyncio.Queue()
        self.stopped = False
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=0)
        self.at = 0
        self.asked: list[list[TopicPartition]] = []
        self.made.append(self)

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    def assign(self, tps: object) -> None: ...
    def pause(self, *tps: object) -> None: ...
    def resume(self, *tps: object) -> None: ...
    def seek(self, tp: object, offset: int) -> None: ...

    async def position(self, tp: object) -> int:
        return self.at

    async def end_offsets(self, tps: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.asked.append(tps)
        await asyncio.sleep(0.01)
        return {tp: 10 * len(self.asked) + tp.partition for tp in tps}

    async def getmany(self, **options: object) -> Mapping[TopicPartition, Sequence[Record]]:
        found = await self.found.get()
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
async def kafka() -> AsyncIterator[KafkaTopicReader]:
    Driver.made.clear()
    kafka = KafkaTopicReader(SimpleNamespace(consumer=Driver))  # type: ignore[arg-type]
    await kafka.share("events", [0, 1])
    yield kafka
    await kafka.share("events", [])


async def test_a_consumer_that_fails(kafka: KafkaTopicReader) -> None:
    """Whoever waits for records is told, and so is who asks then; opened again, each partition has a consumer of its
    own, so that what cannot be read in one keeps no other waiting."""
    readings = [await kafka.open("events", partition) for partition in (0, 1)]
    for reading in readings:
        await reading.seek(0)
    waiting = asyncio.create_task(readings[0].read(10))
    await asyncio.sleep(0)
    Driver.made[0].found.put_nowait(RuntimeError("a record that nobody can read"))
    async with asyncio.timeout(20):
        with pytest.raises(ReadingFailed, match="a record that nobody can read"):
            await waiting
        with pytest.raises(ReadingFailed):
            await readings[1].read(10)
    for reading in readings:
        await reading.close()
    again = [await kafka.open("events", partition) for partition in (0, 1)]
    for reading in again:
        await reading.seek(0)
    _, first, second = Driver.made
    first.found.put_nowait(RuntimeError("it is still there"))
    second.found.put_nowait({TopicPartition("events", 1): [Record(0)]})
    async with asyncio.timeout(20):
        with pytest.raises(ReadingFailed):
            await again[0].read(10)
        assert [0] == [record.offset for record in await again[1].read(10)]
    for reading in again:
        await reading.close()
    assert all(driver.stopped for driver in (first, second))


async def test_sought_while_others_have_their_turn(kafka: KafkaTopicReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before is not what comes after a seek, however long a batch waits for its turn."""
    turn = asyncio.Event()

    async def yield_if_due() -> None:
        await turn.wait()

    monkeypatch.setattr(topic_reader, "yield_if_due", yield_if_due)
    reading: Any = await kafka.open("events", 0)
    await reading.seek(5)
    Driver.made[0].found.put_nowait({TopicPartition("events", 0): [Record(5)]})
    for _ in range(5):
        await asyncio.sleep(0)
    await reading.seek(100)
    Driver.made[0].found.put_nowait({TopicPartition("events", 0): [Record(100)]})
    turn.set()
    async with asyncio.timeout(20):
        assert [100] == [record.offset for record in await reading.read(10)]


async def test_what_is_passed(kafka: KafkaTopicReader) -> None:
    """What waits for its reader is not passed, whatever Kafka's client has read; behind it, the client says."""
    reading = await kafka.open("events", 0)
    await reading.seek(5)
    driver = Driver.made[0]
    driver.at = 9  # a record and marks of transactions
    driver.found.put_nowait({TopicPartition("events", 0): [Record(6)]})
    for _ in range(5):
        await asyncio.sleep(0)
    assert 5 == await reading.passed()
    assert [6] == [record.offset for record in await reading.read(10)]
    assert 9 == await reading.passed()


async def test_many_partitions_ask_where_they_end(kafka: KafkaTopicReader) -> None:
    """One request is for all of them, and no answer is older than its question."""
    zero, one = [await kafka.open("events", partition) for partition in (0, 1)]
    driver = Driver.made[0]
    assert [10, 11, 10] == await asyncio.gather(zero.end(), one.end(), zero.end())
    early = asyncio.create_task(zero.end())
    await asyncio.sleep(0.001)
    late = [asyncio.create_task(reading.end()) for reading in (zero, one)]
    assert [20, 30, 31] == await asyncio.gather(early, *late)
    assert [[TopicPartition("events", 0), TopicPartition("events", 1)]] * 3 == driver.asked


async def test_a_topic_without_news(kafka: KafkaTopicReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker keeps requests for long when nothing has come for a while, until something does or is asked for."""
    monkeypatch.setattr(topic_reader, "CALM_SECONDS", 0.0)
    driver, reading = Driver.made[0], await kafka.open("events", 0)

    async def waits(ms: int) -> bool:
        async with asyncio.timeout(20):
            while driver._fetcher._fetch_max_wait_ms != ms:
                await asyncio.sleep(0.001)
        return True

    assert await waits(topic_reader.FETCH_WAIT_MS)
    driver.found.put_nowait({})
    assert await waits(topic_reader.IDLE_WAIT_MS)
    driver.found.put_nowait({TopicPartition("events", 0): [Record(0)]})
    assert await waits(topic_reader.FETCH_WAIT_MS)
    driver.found.put_nowait({})
    assert await waits(topic_reader.IDLE_WAIT_MS)
    await reading.seek(7)
    assert await waits(topic_reader.FETCH_WAIT_MS)
    assert "_fetch_max_wait_ms" in Fetcher._get_actions_per_node.__code__.co_names, "it is read for each request"
