"""Fetch sessions on a real broker: nothing is missed, whatever is asked in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition

from streams.kafka.fetching.sessions import FetchSession
from streams.kafka.records import AIOKafkaConsumer
from tests.contract.topics import SERVERS, new_topic

pytestmark = pytest.mark.asyncio(loop_scope="session")

PARTITIONS = 8


@pytest_asyncio.fixture(loop_scope="session")
async def topic(namespace: str) -> AsyncIterator[str]:
    """A topic of eight partitions."""
    async with new_topic(namespace, PARTITIONS) as name:
        yield name


@asynccontextmanager
async def reading(topic: str, **options: Any) -> AsyncIterator[tuple[Any, list[TopicPartition]]]:
    """A consumer of all partitions, from their beginning, and these."""
    consumer = AIOKafkaConsumer(bootstrap_servers=SERVERS, auto_offset_reset="earliest", **options)
    await consumer.start()
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(places)
    try:
        yield consumer, places
    finally:
        await consumer.stop()


async def produce(topic: str, *partitions: int) -> None:
    """A record to each of these."""
    producer = AIOKafkaProducer(bootstrap_servers=SERVERS)
    await producer.start()
    for partition in partitions:
        await producer.send_and_wait(topic, b"{}", partition=partition)
    await producer.stop()


async def read(consumer: Any, count: int) -> list[tuple[int, int]]:
    """Partition and offset of the next records, sorted."""
    found: list[tuple[int, int]] = []
    async with asyncio.timeout(15):
        while len(found) < count:
            for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                found += [(tp.partition, record.offset) for record in records]
    return sorted(found)


def session_of(consumer: Any) -> FetchSession:
    [session] = consumer._fetcher._sessions.values()
    assert isinstance(session, FetchSession)
    return session


async def test_one_after_the_other(topic: str) -> None:
    """A session lasts, and records come from wherever they are, once each; those of before when they are sought."""
    async with reading(topic) as (consumer, places):
        for round in range(3):
            for partition in (0, 5, 7):
                await produce(topic, partition)
                assert [(partition, round)] == await read(consumer, 1)
        assert session_of(consumer).id
        assert session_of(consumer).epoch > 3
        consumer.seek(places[5], 1)
        assert [(5, 1), (5, 2)] == await read(consumer, 2)
        consumer.pause(places[0])
        await produce(topic, 0, 7)
        assert [(7, 3)] == await read(consumer, 1)
        consumer.resume(places[0])
        assert [(0, 3)] == await read(consumer, 1)


async def test_another_assignment(topic: str) -> None:
    """It is asked for as if nothing had been before: where its partitions end is known again."""
    await produce(topic, 1, 2)
    async with reading(topic) as (consumer, places):
        assert [(1, 0), (2, 0)] == await read(consumer, 2)
        consumer.unsubscribe()
        consumer.assign(places[2:])
        for tp in places[2:]:
            consumer.seek(tp, 1 if tp.partition == 2 else 0)
        await produce(topic, 1, 2, 3)
        assert [(2, 1), (3, 0)] == await read(consumer, 2)
        async with asyncio.timeout(15):
            while consumer.highwater(places[4]) is None:
                await consumer.getmany(timeout_ms=100)


@pytest.mark.parametrize("harm", ["unknown", "of another epoch"])
async def test_a_session_that_is_lost(topic: str, harm: str) -> None:
    """The broker has forgotten it, or takes it for another: reading goes on in a new one."""
    async with reading(topic, fetch_max_wait_ms=50) as (consumer, _):
        await produce(topic, 3)
        assert [(3, 0)] == await read(consumer, 1)
        session = session_of(consumer)
        former = session.id
        if harm == "unknown":
            session.id = 12_345
        else:
            session.epoch += 7
        await produce(topic, 3, 6)
        assert [(3, 1), (6, 0)] == await read(consumer, 2)
        assert session.id not in (0, 12_345, former)


async def test_a_consumer_that_is_behind(topic: str) -> None:
    """What waits here of some partitions keeps nothing from being read in the end, with a record at a time."""
    await produce(topic, *([0, 1, 2] * 5))
    async with reading(topic) as (consumer, _):
        found: list[tuple[int, int]] = []
        async with asyncio.timeout(15):
            while len(found) < 15:
                record = await consumer.getone()
                found.append((record.partition, record.offset))
    assert [(partition, offset) for partition in range(3) for offset in range(5)] == sorted(found)


async def test_a_consumer_to_which_nothing_comes(topic: str) -> None:
    """It asks less and less often, and has what comes then at once."""
    async with reading(topic, fetch_max_wait_ms=20) as (consumer, _):
        await read(consumer, 0)
        async with asyncio.timeout(15):
            while not (consumer._fetcher._sessions and session_of(consumer).quiet > 6):
                await consumer.getmany(timeout_ms=100)
        began = session_of(consumer).epoch
        await consumer.getmany(timeout_ms=2_000)
        assert session_of(consumer).epoch - began <= 5
        waiting = asyncio.create_task(consumer.getmany(timeout_ms=60_000))
        await produce(topic, 4)
        loop = asyncio.get_running_loop()
        produced = loop.time()
        assert await waiting
        assert loop.time() - produced < 0.3
        assert 0 == session_of(consumer).quiet
