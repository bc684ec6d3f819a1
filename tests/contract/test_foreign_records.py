"""Records that others have written, on a real broker: codecs, names that are no text, bombs, and transactions."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.record.util import calc_crc32c

from projections.applying.control import Control
from projections.applying.topic_reader import KafkaTopicReader
from projections.gateway.command_log import CommandLog
from projections.gateway.replies import GatewayReplies
from projections.gateway.waiters import ReplyWaiters
from streams.deciding.messages import AggregateRef, Reply, encode_reply
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.fetching import batches
from streams.kafka.records import AIOKafkaConsumer, UnreadableRecord
from streams.kafka.topics import DAY, Topic, ensure_topics
from tests.contract.topics import SERVERS, new_topic, topics

pytestmark = pytest.mark.asyncio(loop_scope="function")


@pytest_asyncio.fixture(loop_scope="function")
async def topic(namespace: str) -> AsyncIterator[str]:
    """Of one partition; it is removed afterwards."""
    async with new_topic(namespace, 1) as name:
        yield name


@pytest_asyncio.fixture(loop_scope="function")
async def broker() -> AsyncIterator[KafkaClient]:
    broker = KafkaClient(ClientFactory(SERVERS), 1)
    await broker.start()
    yield broker
    await broker.stop()


async def send(topic: str, value: bytes, codec: str | None = None) -> int:
    """Its offset."""
    async with AIOKafkaProducer(bootstrap_servers=SERVERS, compression_type=codec) as producer:
        return int((await producer.send_and_wait(topic, value, partition=0)).offset)


async def transaction(topic: str, *values: bytes, commit: bool) -> None:
    async with AIOKafkaProducer(bootstrap_servers=SERVERS, transactional_id=topic) as producer:
        await producer.begin_transaction()
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)
        await (producer.commit_transaction() if commit else producer.abort_transaction())


async def read(topic: str, committed: bool = True) -> list[bytes | str]:
    """All values that are there; of what cannot be read the reason."""
    level = "read_committed" if committed else "read_uncommitted"
    consumer = AIOKafkaConsumer(bootstrap_servers=SERVERS, auto_offset_reset="earliest", isolation_level=level)
    found: list[bytes | str] = []
    async with consumer, asyncio.timeout(10):
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        while await consumer.position(tp) < end:
            for record in (await consumer.getmany(tp, timeout_ms=200)).get(tp, ()):
                found.append(record.reason if isinstance(record, UnreadableRecord) else record.value)
    return found


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_every_codec(topic: str, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compressed is read, whatever by; a bomb is one record that is not, and what is behind it is read."""
    monkeypatch.setattr(batches, "UNPACKED_BYTES", 300_000)
    await send(topic, b"before", codec)
    await send(topic, bytes(900_000), codec)
    await send(topic, b"behind", codec)
    before, bomb, behind = await read(topic)
    assert (b"before", b"behind") == (before, behind)
    assert str(bomb).startswith("it unpacks to more than")


async def test_a_header_name_that_is_no_text(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record with such a header, as librdkafka can write it, is read, and so is what is behind it."""
    async with AIOKafkaProducer(bootstrap_servers=SERVERS) as producer:
        batch = producer.create_batch()
        batch.append(key=b"k", value=b"odd", timestamp=None, headers=[("ab", b"x")])
        data = bytearray(batch._build())
        at = data.index(b"\x04ab")
        data[at + 1 : at + 3] = b"\xff\xfe"
        crc = calc_crc32c(bytes(data[DefaultRecordBase.ATTRIBUTES_OFFSET :]))
        struct.pack_into(">I", data, DefaultRecordBase.CRC_OFFSET, crc)
        batch._buffer = data
        await (await producer.send_batch(batch, topic, partition=0))
    await send(topic, b"behind")
    assert [b"odd", b"behind"] == await read(topic)


async def test_what_was_taken_back(topic: str, broker: KafkaClient) -> None:
    """Records of a transaction that was aborted are not read, and the gaps that transactions leave are empty."""
    await send(topic, b"0")
    await transaction(topic, b"aborted", b"aborted", commit=False)
    await transaction(topic, b"4", commit=True)
    last = await send(topic, b"6")
    assert [b"0", b"4", b"6"] == await read(topic)
    assert await broker.gap_is_empty(topic, 0, 1, 4)
    assert await broker.gap_is_empty(topic, 0, 5, last)
    assert not await broker.gap_is_empty(topic, 0, 4, last)
    await transaction(topic, b"aborted", commit=False)
    found = await broker.last_record(topic, 0)
    assert b"6" == found.value


@pytest.mark.parametrize("commit", [True, False])
async def test_orders_before_a_transaction(topic: str, broker: KafkaClient, commit: bool) -> None:
    """Who starts while the mark of a transaction is the last on the topic of orders knows all of them, and goes on."""
    async with AIOKafkaProducer(bootstrap_servers=SERVERS) as producer:
        await producer.send_and_wait(topic, b'{"reason":"because"}', key=b"paused/orders", partition=0)
    await transaction(topic, b"no order", commit=commit)
    control = Control(topic, KafkaTopicReader(ClientFactory(SERVERS)), broker)
    async with asyncio.timeout(10):
        await control.start()
    try:
        assert "because" == control.paused("orders")
        await asyncio.sleep(0)  # it follows, and what follows closes what it reads
    finally:
        await control.close()


async def test_a_reply_in_a_transaction(topic: str, broker: KafkaClient, tmp_path: Path) -> None:
    """Who asks for a command while the mark of a transaction is the last on the topic gets an answer."""
    reply = encode_reply(Reply("c1", "accepted", AggregateRef("order", "1", 1)))
    await transaction(topic, reply, commit=True)
    commands, waiters = CommandLog(lambda: tmp_path / "commands.sqlite"), ReplyWaiters(2)
    replies = GatewayReplies(broker, commands, waiters, clients=ClientFactory(SERVERS), topic=topic, partitions=1)
    await replies.assign({0}, ())
    try:
        async with asyncio.timeout(10):
            while not replies._ends:  # its file is open, and it reads
                await asyncio.sleep(0.01)
            known = await replies.find_for_sure("c1")
            assert known is not None
            assert known.reply is not None
            assert await replies.find_for_sure("c2") is None
    finally:
        await replies.close()


@pytest.mark.parametrize("times", ["CreateTime", "LogAppendTime"])
async def test_a_topic_with_the_times_of_senders(namespace: str, times: str, caplog: pytest.LogCaptureFixture) -> None:
    """A command topic that has the senders' times is named at start, with what to do."""
    name = f"{namespace}{times.lower()}-commands"
    async with topics(name, config={"message.timestamp.type": times}):
        await ensure_topics(ClientFactory(SERVERS), [Topic(name, 1, DAY)])
    said = [line.getMessage() for line in caplog.records if name in line.getMessage()]
    assert (times == "CreateTime") == any(f"topic {name} has message.timestamp.type=CreateTime" in it for it in said)
