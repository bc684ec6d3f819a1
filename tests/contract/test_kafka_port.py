"""What the engine takes for granted of Kafka, on a real one and on the broker of `sourced dev`: what differs stands in
docs/dev.md."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import (
    IllegalGenerationError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    UnknownMemberIdError,
    for_code,
)
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.produce import ProduceRequest

from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topic_metadata import cluster_id, look
from streams.kafka.topics import TopicError, ensure_topics, look_at_topics, type_topics
from tests.contract.topics import SERVERS, make_topics
from tests.local_broker import local_broker

pytestmark = pytest.mark.asyncio(loop_scope="session")

SESSION_MS = 6_000


@pytest.fixture(scope="session")
def local_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The broker of `sourced dev`."""
    with local_broker(tmp_path_factory.mktemp("broker") / "topics.db") as address:
        yield [address]


@pytest.fixture(params=["kafka", "local"])
def servers(request: pytest.FixtureRequest) -> list[str]:
    """A real Kafka, and the broker of `sourced dev`."""
    return SERVERS if request.param == "kafka" else request.getfixturevalue("local_servers")


@pytest_asyncio.fixture(loop_scope="session")
async def admin(servers: list[str]) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administrator."""
    async with ClientFactory(servers).administering() as client:
        yield client


Make = Callable[..., Awaitable[str]]


@pytest_asyncio.fixture(loop_scope="session")
async def make(admin: AIOKafkaAdminClient, namespace: str) -> AsyncIterator[Make]:
    """Makes topics under names that no other test uses; they are removed afterwards."""
    made: list[str] = []

    async def make(partitions: int = 1, **settings: str) -> str:
        name = f"{namespace}{uuid.uuid4().hex[:8]}"
        config = {key.replace("_", "."): value for key, value in settings.items()}
        await make_topics(admin, NewTopic(name, partitions, 1, topic_configs=config))
        made.append(name)
        return name

    yield make
    await admin.delete_topics(made)


@asynccontextmanager
async def writing(servers: list[str], **options: Any) -> AsyncIterator[Any]:
    """A producer."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def reading(servers: list[str], *topics: str, **options: Any) -> AsyncIterator[Any]:
    """A consumer, from the beginning unless told otherwise."""
    given = {"auto_offset_reset": "earliest", "session_timeout_ms": SESSION_MS, "heartbeat_interval_ms": 100} | options
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=servers, **given)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def records(consumer: Any, count: int) -> list[Any]:
    """The next records, by partition and offset."""
    found: list[Any] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            for some in (await consumer.getmany(timeout_ms=100)).values():
                found += some
    return sorted(found, key=lambda record: (record.partition, record.offset))


async def becomes(true: Callable[[], Awaitable[bool]]) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(40):
        while not await true():
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("codec", [None, "gzip", "zstd"])
async def test_records_come_as_they_were_sent(servers: list[str], make: Make, codec: str | None) -> None:
    """Key, value, headers and time, none of them too; in each partition in order, from offset 0."""
    topic, headers = await make(2), [("ce_type", b"Added"), ("empty", b"")]
    async with writing(servers, compression_type=codec) as producer:
        for number in range(20):
            value = b"v%d" % number * 100 if number else None
            await producer.send_and_wait(
                topic, value, key=b"k", headers=headers, partition=number % 2, timestamp_ms=1_000_000 + number
            )
    async with reading(servers, topic) as consumer:
        found = await records(consumer, 20)
    assert [(part, at) for part in range(2) for at in range(10)] == [(it.partition, it.offset) for it in found]
    assert {(b"k", tuple(headers))} == {(it.key, tuple(it.headers)) for it in found}
    assert [1_000_000 + 2 * at + part for part in range(2) for at in range(10)] == [it.timestamp for it in found]
    assert (None, b"v2" * 100) == (found[0].value, found[1].value)


async def test_the_brokers_time(servers: list[str], make: Make) -> None:
    """A topic with the broker's time has that, whatever a producer says; a time is looked up to the record."""
    topic, began = await make(message_timestamp_type="LogAppendTime"), time.time() * 1000
    async with writing(servers) as producer:
        sent = await producer.send_and_wait(topic, b"{}", partition=0, timestamp_ms=5)
    assert (1, 0) == (sent.timestamp_type, sent.offset)
    async with reading(servers, topic) as consumer:
        [record] = await records(consumer, 1)
        assert (1, sent.timestamp) == (record.timestamp_type, record.timestamp)
        assert abs(record.timestamp - began) < 60_000
        tp = TopicPartition(topic, 0)
        assert 0 == (await consumer.offsets_for_times({tp: int(began) - 60_000}))[tp].offset
        assert None is (await consumer.offsets_for_times({tp: record.timestamp + 1}))[tp]


async def test_a_time_within_a_batch(servers: list[str], make: Make) -> None:
    """The first record that is not older, of many that came in one batch."""
    topic = await make()
    async with writing(servers, linger_ms=200) as producer:
        await asyncio.gather(
            *[await producer.send(topic, b"{}", partition=0, timestamp_ms=1_000 * number) for number in range(1, 9)]
        )
    async with reading(servers, topic) as consumer:
        tp = TopicPartition(topic, 0)
        found = (await consumer.offsets_for_times({tp: 3_500}))[tp]
        assert (3, 4_000) == (found.offset, found.timestamp)


async def test_ends(servers: list[str], make: Make, admin: AIOKafkaAdminClient) -> None:
    """A partition begins at 0 and ends behind its last record; once records are deleted, it begins behind them, what
    is before that is out of range, and new records go on counting."""
    topic = await make()
    tp = TopicPartition(topic, 0)
    async with writing(servers) as producer:
        for _ in range(5):
            await producer.send_and_wait(topic, b"{}", partition=0)
        async with reading(servers, auto_offset_reset="none") as consumer:
            assert ({tp: 0}, {tp: 5}) == (await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp]))
            await admin.delete_records({tp: RecordsToDelete(before_offset=3)})
            assert ({tp: 3}, {tp: 5}) == (await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp]))
            consumer.assign([tp])
            consumer.seek(tp, 1)
            with pytest.raises(OffsetOutOfRangeError):
                await asyncio.wait_for(consumer.getone(), 20)
            consumer.seek(tp, 3)
            assert [3, 4] == [it.offset for it in await records(consumer, 2)]
            await admin.delete_records({tp: RecordsToDelete(before_offset=-1)})
            assert {tp: 5} == await consumer.beginning_offsets([tp])
        assert 5 == (await producer.send_and_wait(topic, b"{}", partition=0)).offset


async def test_many_partitions_at_once(servers: list[str], make: Make) -> None:
    """A consumer of many partitions with more than one answer holds gets all of them, whichever it asks for first."""
    topic, each = await make(8), 40
    async with writing(servers) as producer:
        for partition in range(8):
            sent = [await producer.send(topic, bytes(20_000), partition=partition) for _ in range(each)]
            await asyncio.gather(*sent)
    async with reading(servers, topic, fetch_max_bytes=200_000) as consumer:
        found = await records(consumer, 8 * each)
    assert [(part, at) for part in range(8) for at in range(each)] == [(it.partition, it.offset) for it in found]


async def test_a_fetch_waits_for_what_comes(servers: list[str], make: Make) -> None:
    """A consumer that waits has a record soon after it was written, long before its time is up."""
    topic = await make()
    async with reading(servers, topic, fetch_max_wait_ms=20_000) as consumer, writing(servers) as producer:
        waits = asyncio.create_task(consumer.getone())
        await asyncio.sleep(0.3)
        assert not waits.done()
        await producer.send_and_wait(topic, b"{}", partition=0)
        assert 0 == (await asyncio.wait_for(waits, 10)).offset


async def test_a_repeated_batch_is_written_once(servers: list[str], make: Make) -> None:
    """A batch of an idempotent producer that is sent again is answered as before; one that comes out of turn is
    refused."""
    topic, sent, answers = await make(), [], []
    async with writing(servers, enable_idempotence=True) as producer:
        node = (await producer.partitions_for(topic)) and producer.client.cluster.leader_for_partition(
            TopicPartition(topic, 0)
        )
        send = producer.client.send

        async def twice(to: int, request: Any, **options: Any) -> Any:
            if isinstance(request, ProduceRequest):
                sent.append(request)
                first, again = await send(to, request, **options), await send(to, request, **options)
                answers.append((first.topics[0][1][0][:3], again.topics[0][1][0][:3]))
                return again
            return await send(to, request, **options)

        producer.client.send = twice
        offsets = [(await producer.send_and_wait(topic, b"%d" % it, partition=0)).offset for it in range(3)]
        producer.client.send = send
        assert [0, 1, 2] == offsets
        assert [((0, 0, at), (0, 0, at)) for at in range(3)] == answers
        for _ in range(4):
            await producer.send_and_wait(topic, b"more", partition=0)
        [(_, [(_, code, *_)])] = (await send(node, sent[0])).topics
        assert "OutOfOrderSequenceNumber" == for_code(code).__name__
    async with reading(servers, topic) as consumer:
        assert [b"0", b"1", b"2", *[b"more"] * 4] == [it.value for it in await records(consumer, 7)]


async def test_what_is_too_large(servers: list[str], make: Make) -> None:
    """A batch beyond the limit of its topic is refused, and the next one is not."""
    topic = await make(max_message_bytes="2000")
    async with writing(servers, enable_idempotence=True) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic, bytes(5_000), partition=0)
    async with writing(servers) as producer:
        assert 0 == (await producer.send_and_wait(topic, bytes(100), partition=0)).offset


async def test_a_group_shares_out(servers: list[str], make: Make, admin: AIOKafkaAdminClient, namespace: str) -> None:
    """Members of a group have all partitions between them, also after one has joined or left; each goes on where the
    one before it has committed; and the group can be looked at."""
    topic, group = await make(4), f"{namespace}{uuid.uuid4().hex[:8]}"
    async with writing(servers) as producer:
        for partition in range(4):
            await producer.send_and_wait(topic, b"{}", partition=partition)
        async with reading(servers, topic, group_id=group, enable_auto_commit=False) as one:
            await records(one, 4)
            await one.commit()
            async with reading(servers, topic, group_id=group, enable_auto_commit=False) as two:

                async def shared() -> bool:
                    await asyncio.gather(one.getmany(timeout_ms=50), two.getmany(timeout_ms=50))
                    parts = [{tp.partition for tp in it.assignment()} for it in (one, two)]
                    return all(len(it) == 2 for it in parts) and set.union(*parts) == set(range(4))

                await becomes(shared)
                [described] = await admin.describe_consumer_groups([group])
                [(code, name, state, kind, protocol, members)] = described.groups
                assert (0, group, "Stable", "consumer", "roundrobin", 2) == (
                    code, name, state, kind, protocol, len(members),
                )  # fmt: skip
                assert {(group, "consumer")} <= set(await admin.list_consumer_groups())

            async def alone() -> bool:
                await one.getmany(timeout_ms=50)
                return len(one.assignment()) == 4

            await becomes(alone)
            await producer.send_and_wait(topic, b"new", partition=3)
            assert [(3, 1, b"new")] == [(it.partition, it.offset, it.value) for it in await records(one, 1)]
    offsets = await admin.list_consumer_group_offsets(group)
    assert {(partition, 1) for partition in range(4)} == {(tp.partition, at.offset) for tp, at in offsets.items()}


async def test_a_killed_member_is_missed(servers: list[str], make: Make, namespace: str) -> None:
    """Who sends no heartbeats any more is out of the group after its session, and the others have its partitions."""
    topic, group = await make(2), f"{namespace}{uuid.uuid4().hex[:8]}"
    async with (
        reading(servers, topic, group_id=group) as one,
        reading(servers, topic, group_id=group) as two,
    ):

        async def shared() -> bool:
            await asyncio.gather(one.getmany(timeout_ms=50), two.getmany(timeout_ms=50))
            return len(one.assignment()) == len(two.assignment()) == 1

        await becomes(shared)
        began = time.monotonic()
        two._coordinator._coordination_task.cancel()
        two._coordinator._heartbeat_task.cancel()

        async def alone() -> bool:
            await one.getmany(timeout_ms=50)
            return len(one.assignment()) == 2

        await becomes(alone)
        assert time.monotonic() - began > SESSION_MS / 1000 - 1.5


async def test_who_is_no_member(servers: list[str], admin: AIOKafkaAdminClient, make: Make, namespace: str) -> None:
    """A heartbeat of nobody, or of another generation, and the commit of a stranger while there are members are
    refused; without members anybody may commit."""
    topic, group = await make(1), f"{namespace}{uuid.uuid4().hex[:8]}"
    client = KafkaClient(ClientFactory(servers), 1)
    await client.start()
    try:
        await client.commit_offsets(group, {topic: {0: 7}})
        tp = TopicPartition(topic, 0)
        assert 7 == (await admin.list_consumer_group_offsets(group))[tp].offset
        coordinator = await admin.find_coordinator(group)

        async def code(member: str, generation: int) -> int:
            answer = await admin._send_request(HeartbeatRequest(group, generation, member), coordinator)
            return int(answer.error_code)

        assert UnknownMemberIdError.errno == await code("", -1)
        async with reading(servers, topic, group_id=group, enable_auto_commit=False) as consumer:
            await consumer.getmany(timeout_ms=100)
            member = consumer._coordinator.member_id
            assert IllegalGenerationError.errno == await code(member, 99)
            with pytest.raises(UnknownMemberIdError):
                await client.commit_offsets(group, {topic: {0: 9}})
        assert 7 == (await admin.list_consumer_group_offsets(group))[tp].offset
    finally:
        await client.stop()


async def test_topics(servers: list[str], admin: AIOKafkaAdminClient, namespace: str) -> None:
    """Topics are made as the engine makes them, with ids that a topic of the same name made later does not have; a
    topic has the settings that it was given, and grows."""
    clients, type = ClientFactory(servers), uuid.uuid4().hex[:8]
    wanted = type_topics(namespace, type, 3)
    made = await ensure_topics(clients, wanted)
    assert {topic.name: 3 for topic in wanted} == {name: it.partitions for name, it in made.items()}
    assert made == await ensure_topics(clients, wanted)
    with pytest.raises(TopicError, match="has 3 partitions, PARTITIONS says 5"):
        await ensure_topics(clients, type_topics(namespace, type, 5))
    name = wanted[0].name
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    [response] = await admin.describe_configs([resource])
    [(code, _, _, _, entries)] = response.resources
    settings = {key: value for key, value, *_ in entries}
    assert (0, "604800000", "LogAppendTime", "delete") == (
        code, settings["retention.ms"], settings["message.timestamp.type"], settings["cleanup.policy"],
    )  # fmt: skip
    await admin.create_partitions({name: NewPartitions(4)})

    async def has_grown() -> bool:
        found, _ = await look(admin._client, [name])
        topic = found[name]
        return topic is not None and topic.partitions == 4

    await becomes(has_grown)
    await admin.delete_topics([topic.name for topic in wanted])

    async def is_gone() -> bool:
        return (await look(admin._client, [name]))[0] == {}

    await becomes(is_gone)
    again = await ensure_topics(clients, wanted[:1])
    assert again[name].id != made[name].id
    assert (await cluster_id(admin._client), []) == await look_at_topics(clients, wanted[:1])
    await admin.delete_topics([name])


@pytest.mark.parametrize(
    ("topic", "error"),
    [
        (NewTopic("there", 1, 1), "TopicAlreadyExistsError"),
        (NewTopic("no name", 1, 1), "InvalidTopicError"),
        (NewTopic("none", 0, 1), "InvalidPartitionsError"),
        (NewTopic("copies", 1, 3), "InvalidReplicationFactorError"),
        (NewTopic("setting", 1, 1, topic_configs={"no.such": "1"}), "InvalidConfigurationError"),
        (NewTopic("value", 1, 1, topic_configs={"retention.ms": "soon"}), "InvalidConfigurationError"),
    ],
    ids=lambda it: it if isinstance(it, str) else it.name,
)
async def test_topics_that_cannot_be_made(
    servers: list[str], admin: AIOKafkaAdminClient, make: Make, topic: NewTopic, error: str
) -> None:
    """Each is refused by the error that the engine looks for."""
    name = await make() if topic.name == "there" else topic.name
    wanted = NewTopic(name, topic.num_partitions, topic.replication_factor, topic_configs=topic.topic_configs)
    response = await admin.create_topics([wanted])
    [(_, code, *_)] = response.topic_errors
    assert error == for_code(code).__name__


async def test_a_topic_that_is_deleted_under_its_consumer(
    servers: list[str], make: Make, admin: AIOKafkaAdminClient, namespace: str
) -> None:
    """What its group had committed of it is gone with it: a topic of the same name is read from its beginning."""
    topic, group = await make(), f"{namespace}{uuid.uuid4().hex[:8]}"
    async with writing(servers) as producer:
        for _ in range(3):
            await producer.send_and_wait(topic, b"old", partition=0)
    client = KafkaClient(ClientFactory(servers), 1)
    await client.start()
    try:
        await client.commit_offsets(group, {topic: {0: 3}})
    finally:
        await client.stop()
    await admin.delete_topics([topic])

    async def is_gone() -> bool:
        is_unknown = (await look(admin._client, [topic]))[0] == {}
        return is_unknown and not await admin.list_consumer_group_offsets(group)

    await becomes(is_gone)
    await make_topics(admin, NewTopic(topic, 1, 1))
    async with writing(servers) as producer:
        await producer.send_and_wait(topic, b"new", partition=0)
    async with reading(servers, topic, group_id=group) as consumer:
        assert [(0, b"new")] == [(it.offset, it.value) for it in await records(consumer, 1)]
