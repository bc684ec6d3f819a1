"""Partitions that are added to a topic by hand while workers run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.concurrency.supervisor import Supervisor
from streams.kafka import topic_watch
from streams.kafka.topic_metadata import TopicMetadata
from streams.kafka.topic_watch import watch_partitions
from streams.kafka.topics import type_topics

NO_LEADER = "order-commands has no leader of partition 3: what is of it waits. Look at the brokers"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_partitions_added_by_hand(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, with both numbers, and is a trouble until it is over; a broker that is down is none. So is a
    partition that has no leader for long."""
    monkeypatch.setattr(topic_watch, "LOOK_SECONDS", 0.001)
    supervisor, looks = Supervisor(), 0
    partitions: int | None = 8
    without: frozenset[int] = frozenset()

    async def existing(names: Iterable[str]) -> dict[str, TopicMetadata | None]:
        nonlocal looks
        looks += 1
        if partitions is None:
            raise KafkaConnectionError("down")
        return {
            name: TopicMetadata("id", partitions, without_leader=without)
            if name == "order-commands"
            else TopicMetadata("id", 8)
            for name in names
        }

    async def look() -> None:
        before = looks
        await until(lambda: looks > before + 1)

    task = supervisor.keep("topics", lambda: watch_partitions(existing, type_topics("", "order", 8), supervisor))
    await look()
    assert {} == supervisor.troubles
    partitions = 16
    await look()
    await look()
    assert ["order-commands"] == list(supervisor.troubles)
    [line] = [record.getMessage() for record in caplog.records]
    assert "order-commands has 16 partitions, PARTITIONS says 8" in line
    partitions = None
    await look()
    assert ["order-commands"] == list(supervisor.troubles)
    partitions = 8
    await look()
    assert {} == supervisor.troubles

    without = frozenset({3, 7})
    await look()
    without = frozenset({3})
    await look()
    assert {"order-commands": NO_LEADER} == supervisor.troubles
    await look()
    assert [NO_LEADER] == [
        record.getMessage() for record in caplog.records[1:] if "leader of partition 3:" in record.getMessage()
    ]
    without = frozenset()
    await look()
    assert {} == supervisor.troubles
    task.cancel()
