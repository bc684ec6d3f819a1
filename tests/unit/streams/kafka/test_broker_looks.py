"""What the worker's Kafka client makes of answers that come late, or do not come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.kafka import probes, topic_limits
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topic_limits import USUAL_LARGEST, ask_largest

TP = TopicPartition("order-events", 0)


class Client:
    """Answers what a topic takes, or raises."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=1)])
        self.asked: list[int] = []

    async def send(self, node: int, request: Any) -> Any:
        self.asked.append(node)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        code, entries = answer
        return SimpleNamespace(resources=[(code, None, 2, "order-events", entries)])


class Producer:
    """One that is connected."""

    def __init__(self, client: Client) -> None:
        self.client = client


def broker(*answers: Any) -> KafkaClient:
    broker = KafkaClient(ClientFactory([]), 1)
    broker._producers.current = Producer(Client(*answers))
    return broker


SMALL = 0, [("max.message.bytes", "20000", False, False, False)]


@pytest.mark.parametrize("error", [KafkaConnectionError(), TimeoutError(), (7, []), (3, [])], ids=repr)
async def test_what_a_topic_takes_is_not_guessed(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Kafka does not answer what is known holds; where nothing is known, that is an error to wait for."""
    monkeypatch.setattr(topic_limits, "LIMIT_SECONDS", -1.0)
    known, unknown = broker(SMALL, error, SMALL), broker(error, SMALL)
    assert [20_000] * 3 == [await known.largest("order-events") for _ in range(3)]
    with pytest.raises((KafkaError, TimeoutError)):
        await unknown.largest("order-events")
    assert 20_000 == await unknown.largest("order-events")


@pytest.mark.parametrize("code", [29, 31])
async def test_who_may_not_ask_what_a_topic_takes(code: int) -> None:
    """Goes by Kafka's default."""
    assert USUAL_LARGEST == await broker((code, [])).largest("order-events")


async def test_any_broker_that_answers() -> None:
    """What each of them knows is asked of all in turn, each once, until one answers; when none does, that is said."""
    down = KafkaConnectionError("it is down")
    client = Client(down, down, SMALL)
    client.cluster.brokers = lambda: [SimpleNamespace(nodeId=node) for node in (1, 2, 3)]
    assert 20_000 == await ask_largest(client, "order-events")
    assert [1, 2, 3] == sorted(client.asked)
    client = Client(down)
    with pytest.raises(KafkaConnectionError, match="it is down"):
        await ask_largest(client, "order-events")
    client.cluster.brokers = list
    with pytest.raises(KafkaConnectionError, match="no broker is known"):
        await ask_largest(client, "order-events")


class Slow:
    """A consumer of a partition that brings one record at a time, slowly."""

    def __init__(self, records: Sequence[Any], seconds: float) -> None:
        self._records = records
        self._seconds = seconds
        self._at = 0

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {TP: 0}

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {TP: len(self._records)}

    def pause(self, tp: TopicPartition) -> None:
        """Fetch nothing."""

    resume = pause

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._at = offset

    async def position(self, tp: TopicPartition) -> int:
        return self._at

    async def getmany(self, tp: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(self._seconds)
        self._at += 1
        return {tp: [SimpleNamespace(offset=self._at - 1, value=self._records[self._at - 1])]}


async def test_many_large_records_of_others_behind_the_last_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may take longer than one answer of Kafka: who gets on does not give up."""
    monkeypatch.setattr(probes, "STALL_SECONDS", 0.05)
    consumer: Any = Slow(["ours", *["theirs"] * 60], 0.002)
    found = await probes.last_wanted(consumer, TP, lambda it: it.value == "ours")
    assert 0 == found.offset


async def test_a_partition_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not get on gives up."""
    monkeypatch.setattr(probes, "STALL_SECONDS", 0.02)
    consumer: Any = Slow(["ours", "theirs"], 5)
    with pytest.raises(TimeoutError):
        await probes.last_wanted(consumer, TP, lambda it: it.value == "ours")


class Answering:
    """A consumer whose answers come when the test has them come."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def end_offsets(self, tps: Any) -> Any:
        return await self.answer

    async def getone(self, tp: TopicPartition) -> Any:
        return await self.answer

    def assign(self, tps: Any) -> None: ...

    def seek(self, tp: TopicPartition, offset: int) -> None: ...

    def pause(self, *tps: TopicPartition) -> None: ...

    async def stop(self) -> None: ...


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("look", ["end_offsets", "first_record"])
async def test_whoever_looks_can_be_cancelled(look: str, turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the moment in which the answer comes. A tail that looks again and again would never end, nor a worker
    that waits for its tail."""
    consumer, broker = Answering(), KafkaClient(ClientFactory([]), 1)

    async def start() -> Answering:
        return consumer

    monkeypatch.setattr(broker._probes._ends, "_start", start)
    monkeypatch.setattr(broker._probes, "_started", start)
    looks = {
        "end_offsets": lambda: broker.end_offsets("order-events", [0]),
        "first_record": lambda: broker.first_record("order-events", 0, 5),
    }

    async def again_and_again() -> None:
        while True:
            await looks[look]()
            await asyncio.sleep(0)

    task = asyncio.create_task(again_and_again())
    for _ in range(20):
        await asyncio.sleep(0)
    consumer.answer.set_result({TP: 7})
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1.0)
    task.cancel()
    assert {task} == done
