"""Reading the commands of a log from a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams.concurrency.tasks import cancel
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.command_reader import KafkaCommandReader, TopicGone
from tests.contract.topics import SERVERS, new_topic

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLICES = (0, 2)


class Taker:
    """Notes what comes."""

    def __init__(self) -> None:
        self.got: dict[int, list[int]] = {slice: [] for slice in SLICES}
        self.back: list[int] = []
        self.on_first: Callable[[], None] | None = None

    async def deliver(self, slice: int, records: Sequence[Any]) -> None:
        self.got[slice] += [record.offset for record in records]
        if slice == 0 and self.on_first is not None:
            on_first, self.on_first = self.on_first, None
            on_first()

    def went_back(self, slice: int) -> None:
        self.back.append(slice)


@pytest_asyncio.fixture(loop_scope="session")
async def topic(namespace: str) -> AsyncIterator[str]:
    """A topic of three partitions."""
    async with new_topic(namespace, 3) as name:
        yield name


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)


async def produce(topic: str, *partitions: int, aborted: bool = False) -> None:
    transaction = {"transactional_id": f"{topic}-t"} if aborted else {}
    producer = AIOKafkaProducer(bootstrap_servers=SERVERS, **transaction)
    await producer.start()
    if aborted:
        await producer.begin_transaction()
    for partition in partitions:
        await producer.send_and_wait(topic, b"{}", partition=partition)
    if aborted:
        await producer.abort_transaction()
    await producer.stop()


async def test_slices_of_a_log(topic: str) -> None:
    """Each is read from its own offset on, and nothing of others, or of what was taken back."""
    await produce(topic, 0, 0, 0, 1, 2, 2)
    await produce(topic, 2, aborted=True)
    taker = Taker()
    async with KafkaCommandReader(ClientFactory(SERVERS), topic, SLICES) as reader:
        running = asyncio.create_task(reader.run({0: 1, 2: 0}, taker))
        await until(lambda: sum(map(len, taker.got.values())) == 4)
        await produce(topic, 2, 0)
        await until(lambda: sum(map(len, taker.got.values())) == 6)
        await cancel(running)
    assert {0: [1, 2, 3], 2: [0, 1, 4]} == taker.got
    assert [] == taker.back


async def test_a_slice_that_is_held(topic: str) -> None:
    """Nothing of it comes, while the other one is read; it goes on at the offset that is said, also behind what had
    been fetched and not brought."""
    await produce(topic, *[0] * 300, 2)
    taker = Taker()
    async with KafkaCommandReader(ClientFactory(SERVERS), topic, SLICES) as reader:
        taker.on_first = lambda: reader.hold(0)
        running = asyncio.create_task(reader.run({0: 0, 2: 0}, taker))
        await until(lambda: taker.got[0] and taker.got[2])
        first = len(taker.got[0])
        assert first <= 200
        await produce(topic, 0, 2)
        await until(lambda: [0, 1] == taker.got[2])
        await asyncio.sleep(1)
        assert first == len(taker.got[0])
        reader.go_on(0, 7)
        await until(lambda: len(taker.got[0]) == first + 294)
        await produce(topic, 0, 2)
        await until(lambda: [0, 1, 2] == taker.got[2] and taker.got[0][-1] == 301)
        await cancel(running)
    assert [*range(first), *range(7, 302)] == taker.got[0]
    assert [] == taker.back


async def test_what_kafka_has_no_more(topic: str) -> None:
    """A slice that ends before the offset that is due is read from its beginning, and that is told; one whose beginning
    was removed goes on at the first command that is left."""
    await produce(topic, 0, 0, 2, 2, 2)
    admin = AIOKafkaAdminClient(bootstrap_servers=SERVERS)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 2): RecordsToDelete(before_offset=2)})
    await admin.close()
    taker = Taker()
    async with KafkaCommandReader(ClientFactory(SERVERS), topic, SLICES) as reader:
        running = asyncio.create_task(reader.run({0: 9, 2: 0}, taker))
        await until(lambda: taker.got == {0: [0, 1], 2: [2]} and taker.back)
        await cancel(running)
    assert {0} == set(taker.back)


async def test_what_people_see_of_it(topic: str) -> None:
    """Offsets that were told are those of a group without members, by partition."""
    client = KafkaClient(ClientFactory(SERVERS), 3)
    await client.start()
    admin = AIOKafkaAdminClient(bootstrap_servers=SERVERS)
    await admin.start()
    group = f"{topic}-group"
    for offsets in ({0: 5, 2: 7}, {2: 8}):
        await client.commit_offsets(group, {topic: offsets})
    told = await admin.list_consumer_group_offsets(group)
    assert {0: 5, 2: 8} == {tp.partition: it.offset for tp, it in told.items()}
    await admin.close()
    await client.stop()


async def test_a_topic_that_is_deleted(topic: str) -> None:
    """It is said within seconds, so that nobody reads the next one of that name by the offsets of this one."""
    await produce(topic, 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=SERVERS)
    await admin.start()
    taker = Taker()
    async with KafkaCommandReader(ClientFactory(SERVERS), topic, SLICES) as reader:
        running = asyncio.create_task(reader.run({0: 0, 2: 0}, taker))
        await until(lambda: taker.got[0])
        await admin.delete_topics([topic])
        async with asyncio.timeout(15):
            with pytest.raises(TopicGone, match=topic):
                await running
    await admin.close()
