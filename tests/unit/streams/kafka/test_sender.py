"""Replies on their way to Kafka: whatever becomes of one topic, it concerns that topic, and owners go on."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.kafka import sender
from streams.kafka.sender import ProducerRecord, Sender
from streams.kafka.topics import TopicError


class Kafka:
    """Takes what is sent, and says of each topic that it has two partitions, unless a test wants otherwise."""

    def __init__(self) -> None:
        self.taken: defaultdict[str, list[bytes | None]] = defaultdict(list)
        self.looked_up: list[str] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.on_find: Callable[[str], object] = lambda topic: None
        self.on_send: Callable[[str], object] = lambda topic: None
        self.free = asyncio.Event()
        self.free.set()
        self.sender = Sender(self.send, self.find, self.spawn)

    async def send(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        await self.free.wait()
        self.on_send(topic)
        self.taken[topic] += [value for _, value, _ in records]

    async def find(self, topic: str) -> int:
        self.looked_up.append(topic)
        await self.free.wait()
        self.on_find(topic)
        return 2

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def reply(self, *topics: str, value: bytes = b"yes") -> None:
        await self.sender.reply([(topic, f"c{number}", value) for number, topic in enumerate(topics)])

    async def settled(self) -> None:
        """Nothing is on its way, and nothing is kept of what was."""
        async with asyncio.timeout(5):
            while self.tasks:
                await asyncio.wait(self.tasks)
        assert (0, 0) == (self.sender.pending, self.sender.pending_bytes)
        assert not self.sender._queues
        assert not self.sender._waiting


@pytest.fixture
async def kafka() -> Kafka:
    return Kafka()


async def test_replies_arrive(kafka: Kafka) -> None:
    """Replies reach their topics, each of which is looked up once."""
    await kafka.reply("a", "b", "a")
    await kafka.reply("a", "é")
    await kafka.settled()
    assert (3, 1) == (len(kafka.taken["a"]), len(kafka.taken["b"]))
    assert ["a", "b"] == sorted(kafka.looked_up)


@pytest.mark.parametrize("error", [TopicError("it cannot be made"), KafkaConnectionError(), KeyError("a"), OSError(1)])
async def test_owners_go_on_when_a_topic_cannot_be_found(
    kafka: Kafka, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Owners that wait, since too much is on its way to a topic, go on when that topic is given up, whatever befell."""
    monkeypatch.setattr(sender, "MAX_PENDING", 4)
    kafka.free.clear()

    def refuse(topic: str) -> None:
        if topic == "bad":
            raise error

    kafka.on_find = refuse
    owners = [asyncio.create_task(kafka.reply("bad", "bad", "bad", "bad")) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert not any(owner.done() for owner in owners)
    kafka.free.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*owners)
        await kafka.reply("good")
    await kafka.settled()
    assert ({"good"}, [b"yes"]) == (set(kafka.taken), kafka.taken["good"])


@pytest.mark.parametrize("error", [KafkaConnectionError(), AssertionError("no such partition"), KeyError("a")])
async def test_a_pump_that_fails_leaves_nothing_behind(kafka: Kafka, error: Exception) -> None:
    """What cannot be sent is lost, and the next reply to that partition is sent."""

    def refuse(topic: str) -> None:
        kafka.on_send = lambda topic: None
        raise error

    kafka.on_send = refuse
    await kafka.reply("a")
    await kafka.settled()
    await kafka.reply("a")
    await kafka.settled()
    assert [b"yes"] == kafka.taken["a"]
    assert ["a", "a"] == kafka.looked_up, "it may have been removed"


async def test_pending_replies_are_bounded_in_bytes(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few large replies make an owner wait as many small ones do."""
    monkeypatch.setattr(sender, "MAX_PENDING_BYTES", 10_000)
    await kafka.reply("a")
    await kafka.settled()
    kafka.free.clear()
    owner = asyncio.create_task(kafka.reply("a", value=b"x" * 20_000))
    await asyncio.sleep(0.01)
    assert not owner.done()
    kafka.free.set()
    async with asyncio.timeout(5):
        await owner
    await kafka.settled()


async def test_the_least_used_topic_goes(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """No topic is refused for there being many: that which was not used for longest is looked up again."""
    monkeypatch.setattr(sender, "MAX_REPLY_TOPICS", 3)
    for topic in ["replies", "c1", "c2", "replies", "c3", "c4", "replies", "c1"]:
        await kafka.reply(topic)
        await kafka.settled()
    assert ["replies", "c1", "c2", "c3", "c4", "c1"] == kafka.looked_up
    assert 3 == len(kafka.taken["replies"])
    assert 3 == len(kafka.sender._topics)


@pytest.mark.parametrize("topic", ["order-events", "projections-control", "__consumer_offsets", "a b", "x" * 250, ""])
async def test_what_the_system_reads_gets_no_replies(
    kafka: Kafka, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A reply to a topic that the system itself reads, or that is none, is dropped, and that is said once."""
    await kafka.reply(topic, topic)
    await kafka.settled()
    assert ([], {}) == (kafka.looked_up, dict(kafka.taken))
    assert 1 == len([record for record in caplog.records if record.levelno >= logging.WARNING])


async def test_a_hint_is_sent_until_kafka_has_it(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a newer one, however often that fails; not when all is to end."""
    monkeypatch.setattr(sender, "HINT_AGAIN_SECONDS", 0.001)
    failures = 3

    def fail(topic: str) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise KafkaConnectionError

    kafka.on_send = fail
    for nr in range(2):
        kafka.sender.hint("order-commits", 1, b"%d" % nr)
    await kafka.settled()
    assert (-1, [b"1"]) == (failures, kafka.taken["order-commits"])
    failures = 1_000_000
    kafka.sender.hint("order-commits", 1, b"2")
    await asyncio.sleep(0.01)
    kafka.sender.end()
    await kafka.settled()
    assert [b"1"] == kafka.taken["order-commits"]


async def test_the_newest_hint_says_it_all(kafka: Kafka) -> None:
    """Some hints wait, more of them give way to the newest, and they keep no owner waiting."""
    for nr in range(5):
        kafka.sender.hint("order-commits", 1, b"%d" % nr)
    await kafka.settled()
    assert [b"0", b"1", b"2", b"3", b"4"] == kafka.taken["order-commits"]
    for nr in range(sender.MAX_HINTS + 1):
        kafka.sender.hint("order-commits", 2, b"%d" % nr)
    assert 0 == kafka.sender.pending
    await kafka.settled()
    assert [b"%d" % sender.MAX_HINTS] == kafka.taken["order-commits"][5:]
