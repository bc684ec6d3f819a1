"""Hints as they come from a real Kafka: those of the seats that a worker has, from now on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import TopicPartition

from projections.publishing.hints.hint_reader import HintReader
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from tests.contract.topics import SERVERS, topics

SECONDS = 20.0
pytestmark = pytest.mark.asyncio(loop_scope="function")


class Heard:
    """Keeps the hints of a topic."""

    def __init__(self) -> None:
        self.hints: list[tuple[int, bytes]] = []
        self.began = 0

    async def receive(self, partition: int, records: Sequence[Any]) -> None:
        self.hints += [(partition, record.value) for record in records]

    def may_lack_some(self) -> None:
        self.began += 1


@pytest_asyncio.fixture(loop_scope="function")
async def hint_topics(namespace: str) -> AsyncIterator[list[str]]:
    """Of two types. They are removed afterwards."""
    names = [f"{namespace}{type}-commits" for type in ("order", "user")]
    async with topics(*names, partitions=3):
        yield names


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not done():
            await asyncio.sleep(0.01)


async def test_seats_come_and_go(hint_topics: list[str]) -> None:
    """What was sent before is not read, and of seats that are somewhere else nothing, also when they have moved."""
    broker = KafkaClient(ClientFactory(SERVERS), 3)
    await broker.start()
    heard = {topic: Heard() for topic in hint_topics}
    orders, users = hint_topics
    reader = HintReader(ClientFactory(SERVERS), heard)

    async def send(hint: bytes) -> None:
        for topic in hint_topics:
            for seat in range(3):
                await broker.publish(topic, seat, [(None, hint, [])])

    async def sent_until_heard(topic: str, seat: int, hint: bytes) -> None:
        """Where the reader begins is known to nobody else, so it is sent again."""
        async with asyncio.timeout(SECONDS):
            while (seat, hint) not in heard[topic].hints:
                await send(hint)
                await asyncio.sleep(0.05)

    await send(b"before")
    task = asyncio.create_task(reader.run())
    try:
        await asyncio.sleep(0.2)
        assert not task.done(), "it waits for seats"
        began = heard[hint_topics[1]].began
        reader.assign([TopicPartition(orders, 0), TopicPartition(users, 2)])
        await sent_until_heard(orders, 0, b"1")
        await sent_until_heard(users, 2, b"1")
        reader.assign([TopicPartition(orders, 1)])
        assert began + 2 == heard[users].began, "each time all seats are read from their ends on"
        await sent_until_heard(orders, 1, b"2")
        assert {0, 1} == {seat for seat, _ in heard[orders].hints}
        assert {2} == {seat for seat, _ in heard[users].hints}
        assert b"before" not in {hint for it in heard.values() for _, hint in it.hints}
        reader.assign([])
        await asyncio.sleep(0.2)
        count = len(heard[orders].hints)
        await send(b"3")
        reader.assign([TopicPartition(orders, 1)])
        await sent_until_heard(orders, 1, b"4")
        assert b"3" not in {hint for _, hint in heard[orders].hints[count:]}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await broker.stop()
