"""What the worker's Kafka client promises of the order of records, on a real broker."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError

from streams.journal.port import Unavailable
from streams.kafka.client import KafkaClient, RecordTooLarge
from streams.kafka.client_factory import ClientFactory
from streams.kafka.command_slices import CommandSlices
from tests.contract.topics import SERVERS, new_topic

LIMIT = 100_000
pytestmark = pytest.mark.asyncio(loop_scope="function")


@dataclass
class Topic:
    """A topic of two partitions that takes batches of up to 100,000 bytes."""

    name: str
    broker: KafkaClient

    async def take(self, most: int) -> None:
        """Have it take batches of up to so many bytes."""
        admin = AIOKafkaAdminClient(bootstrap_servers=SERVERS)
        await admin.start()
        try:
            config = {"max.message.bytes": str(most)}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self.name, configs=config)])
        finally:
            await admin.close()
        await asyncio.sleep(0.2)  # the broker learns of it through its own log
        self.broker._limits._known.clear()

    async def keys(self, partition: int = 0) -> list[str]:
        """Those of the records that are there."""
        consumer = AIOKafkaConsumer(bootstrap_servers=SERVERS, auto_offset_reset="earliest")
        await consumer.start()
        try:
            tp = TopicPartition(self.name, partition)
            consumer.assign([tp])
            end, found = (await consumer.end_offsets([tp]))[tp], []
            async with asyncio.timeout(10):
                while await consumer.position(tp) < end:
                    found += (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
            return [record.key.decode() for record in found]
        finally:
            await consumer.stop()


def record(key: str, size: int = 10) -> Any:
    """A record whose value has so many bytes."""
    return key.encode(), b"x" * size, []


@pytest_asyncio.fixture(loop_scope="function")
async def topic(namespace: str) -> AsyncIterator[Topic]:
    """It is removed afterwards."""
    async with new_topic(namespace, 2, {"max.message.bytes": str(LIMIT)}) as name:
        broker = KafkaClient(ClientFactory(SERVERS), 2)
        await broker.start()
        yield Topic(name, broker)
        await broker.stop()


async def test_what_is_refused_has_nothing_behind_it(topic: Topic, caplog: Any) -> None:
    """Records behind one that the topic refuses are not sent, not by a new producer either, and all is retrieved."""
    rows = [record(f"r{n}", 1_000) for n in range(300)]
    with caplog.at_level(logging.ERROR), pytest.raises(RecordTooLarge, match=r"max\.message\.bytes"):
        await topic.broker.publish(topic.name, 0, [*rows, record("large", 300_000), record("place")], refuse=True)
    assert [f"r{n}" for n in range(300)] == await topic.keys()
    gc.collect()
    await asyncio.sleep(0)
    assert not caplog.records


async def test_a_partition_goes_on_behind_what_was_refused(topic: Topic) -> None:
    """After a refusal the same partition takes what follows, and the others what they were to have, in order."""
    for turn in range(3):
        with pytest.raises(RecordTooLarge):
            await topic.broker.publish(topic.name, 0, [record("large", 300_000)], refuse=True)
        topic.broker._limits._known.clear()  # so that the broker has to refuse it again
        numbers = range(10 * turn, 10 * turn + 10)
        beside = [asyncio.create_task(topic.broker.publish(topic.name, 1, [record(f"b{n}")])) for n in numbers]
        await topic.broker.publish(topic.name, 0, [record(f"a{turn}")])
        await asyncio.gather(*beside)
    assert ["a0", "a1", "a2"] == await topic.keys()
    assert sorted(f"b{n}" for n in range(30)) == sorted(await topic.keys(1))


async def test_many_that_are_refused_together_come_one_after_the_other(topic: Topic) -> None:
    """A topic that takes little gets smaller batches; nobody is told that a record is too large which is not."""
    await topic.broker.publish(topic.name, 0, [record(f"r{n}", 60_000) for n in range(8)], refuse=True)
    assert [f"r{n}" for n in range(8)] == list(dict.fromkeys(await topic.keys()))


async def test_what_is_too_large_is_waited_for(topic: Topic, caplog: Any) -> None:
    """Where it may not be refused it is said what to do, and when the topic takes it, it is there with all behind."""
    records = [record("first"), record("large", 300_000), record("last")]
    publishing = asyncio.create_task(topic.broker.publish(topic.name, 0, records))
    async with asyncio.timeout(10):
        while "raise max.message.bytes" not in caplog.text:
            await asyncio.sleep(0.05)
    assert "last" not in await topic.keys()
    await topic.take(1_000_000)
    async with asyncio.timeout(10):
        await publishing
    assert ["first", "large", "last"] == list(dict.fromkeys(await topic.keys()))
    assert 1_000_000 == await topic.broker.largest(topic.name)


async def test_others_lose_nothing_when_a_producer_is_replaced(topic: Topic) -> None:
    """While one partition is refused again and again, another gets all that it has to get, in the order of sending."""

    async def steadily() -> None:
        for n in range(200):
            await topic.broker.publish(topic.name, 1, [record(f"b{n:03}", 500)])

    steady = asyncio.create_task(steadily())
    while not steady.done():
        with pytest.raises(RecordTooLarge):
            await topic.broker.publish(topic.name, 0, [record("large", 300_000)], refuse=True)
        topic.broker._limits._known.clear()
        await asyncio.sleep(0.01)
    await steady
    assert [f"b{n:03}" for n in range(200)] == await topic.keys(1)


async def test_nobody_waits_for_ever_when_a_producer_is_replaced(topic: Topic) -> None:
    """Of several that publish to one partition at once some are not with the producer yet when it is replaced: what
    they have given to it, then too, is sent before it ends."""
    for turn in range(10):
        names = [f"{turn}-{n}" for n in range(10)]
        before = [asyncio.create_task(topic.broker.publish(topic.name, 1, [record(name)])) for name in names[:-1]]
        await asyncio.sleep(0)
        topic.broker._producers.spent(topic.broker.producer)  # as when another partition refuses a batch
        async with asyncio.timeout(10):
            await topic.broker.publish(topic.name, 1, [record(names[-1])])
            await asyncio.gather(*before)
    assert {f"{turn}-{n}" for turn in range(10) for n in range(10)} == set(await topic.keys(1))


async def test_what_a_topic_is_known_not_to_take_is_not_tried(topic: Topic) -> None:
    """A refusal costs a producer. So the next one, of whatever size, is refused here, by what the first has shown."""
    await topic.take(1_000)
    producers = []
    for _ in range(3):
        with pytest.raises(RecordTooLarge):
            await topic.broker.publish(topic.name, 0, [record("large", 5_000)], refuse=True)
        await topic.broker.publish(topic.name, 1, [record("small")])
        producers.append(topic.broker.producer)
    assert 1 == len(set(producers))


async def test_a_log_begins_only_where_none_of_its_slices_was_published(topic: Topic) -> None:
    """The ends of all of them are asked for at once, and of those that are not empty the last event of the journal."""
    broker, slices = topic.broker, CommandSlices(topic.broker, topic.name, (0, 1), topic.name)
    assert {0: 0, 1: 0} == await slices.ends()
    await slices.check_unpublished("order", 0)
    place: list[tuple[str, bytes]] = [("ce_id", b"order-1:15:0"), ("ce_position", b"order-1:15:0")]
    await broker.publish(topic.name, 1, [(b"a", b"{}", place), record("of a stranger")])
    await broker.publish(topic.name, 0, [record("of a stranger")])
    assert {0: 1, 1: 2} == await slices.ends()
    with pytest.raises(Unavailable, match="order-1: its events are published up to 15:0, and the journal has nothing"):
        await slices.check_unpublished("order", 0)
    await slices.check_unpublished("order", 15)


async def test_a_consumer_that_is_broken_is_not_kept(topic: Topic) -> None:
    """After one look at the log that failed the next is made with another consumer: neither the end of a partition nor
    what is in a gap stays unknown until a restart."""
    broker, partition = topic.broker, (topic.name, 0)

    async def broken(*_: Any) -> None:
        raise KafkaConnectionError("broken")

    last = await broker.publish(*partition, [record(f"r{n}") for n in range(3)])
    for _ in range(2):
        assert last + 1 == await broker.end_offset(*partition)
        assert await broker.gap_is_empty(*partition, last, last)
        probe, [looked] = broker._probes._ends.current, broker._probes._idle
        probe.end_offsets = looked.getone = broken
        with pytest.raises(KafkaConnectionError):
            await broker.end_offset(*partition)
        assert not await broker.gap_is_empty(*partition, last, last)
        assert [] == broker._probes._idle


async def test_a_gap_without_an_answer_keeps_no_other_waiting(topic: Topic) -> None:
    """What there is in one partition is said at once, while another one does not answer."""
    last = await topic.broker.publish(topic.name, 0, [record("a")])
    silent = asyncio.create_task(topic.broker.gap_is_empty(topic.name, 1, 0, 1))  # nothing is there, and it is waited
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        assert await topic.broker.gap_is_empty(topic.name, 0, last, last)
    assert not silent.done()
    silent.cancel()


async def test_the_last_record_that_is_wanted(topic: Topic) -> None:
    """What strangers and transactions have left at the end of a partition is passed over, however much it is."""
    producer = AIOKafkaProducer(bootstrap_servers=SERVERS, transactional_id=topic.name)
    await producer.start()
    ours = await topic.broker.publish(topic.name, 0, [record("ours")])
    for n in range(12):
        async with producer.transaction():
            await producer.send(topic.name, b"x", key=b"theirs%d" % n, partition=0)
    await producer.stop()
    found = await topic.broker.last_record(topic.name, 0, lambda it: it.key == b"ours")
    assert (ours, b"theirs11") == (found.offset, (await topic.broker.last_record(topic.name, 0)).key)
    assert await topic.broker.last_record(topic.name, 0, lambda it: False) is None
    assert await topic.broker.last_record(topic.name, 1) is None


async def test_the_last_records_of_some_partitions(topic: Topic) -> None:
    """They are found by one consumer, and by others only where a stranger or a transaction has left the last one."""
    producer = AIOKafkaProducer(bootstrap_servers=SERVERS, transactional_id=f"{topic.name}-some")
    await producer.start()
    last = [await topic.broker.publish(topic.name, partition, [record("a"), record("ours")]) for partition in (0, 1)]
    found = await topic.broker.last_records(topic.name, [0, 1], lambda partition, it: it.key == b"ours")
    assert {0: last[0], 1: last[1]} == {partition: it.offset for partition, it in found.items()}
    assert 1 == len(topic.broker._probes._idle)
    async with producer.transaction():
        await producer.send(topic.name, b"x", key=b"theirs", partition=0)
    await producer.stop()
    await topic.broker.publish(topic.name, 1, [record("another")])
    found = await topic.broker.last_records(topic.name, [0, 1], lambda partition, it: it.key == b"ours")
    assert {0: last[0], 1: last[1]} == {partition: it.offset for partition, it in found.items()}
    assert {0: None} == await topic.broker.last_records(topic.name, [0], lambda partition, it: False)


async def test_the_last_records_while_a_transaction_goes_on(topic: Topic) -> None:
    """A stranger who does not end his keeps nobody waiting: it is as if nothing stood where it has begun."""
    producer = AIOKafkaProducer(bootstrap_servers=SERVERS, transactional_id=f"{topic.name}-open")
    await producer.start()
    last = [await topic.broker.publish(topic.name, partition, [record("ours")]) for partition in (0, 1)]
    await producer.begin_transaction()
    await producer.send_and_wait(topic.name, b"x", key=b"theirs", partition=0)
    try:
        async with asyncio.timeout(5):
            found = await topic.broker.last_records(topic.name, [0, 1], lambda partition, it: it.key == b"ours")
    finally:
        await producer.abort_transaction()
        await producer.stop()
    assert {0: last[0], 1: last[1]} == {partition: it.offset for partition, it in found.items()}
