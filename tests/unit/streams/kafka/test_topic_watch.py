"""What happens to topics while workers run: partitions that are added by hand, leaders and rights that are lost."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.concurrency.supervisor import Supervisor
from streams.kafka import topic_watch
from streams.kafka.topic_metadata import TopicMetadata
from streams.kafka.topic_watch import watch_groups, watch_topics
from streams.kafka.topics import OWNS, READ, SENDS, WRITE, reply_topic, type_topics
from tests.unit.until import until

Looked = tuple[dict[str, TopicMetadata | None], list[str]]

NO_LEADER = "order-commands has no leader of partition 3: what is of it waits. Look at the brokers"


async def test_partitions_added_by_hand(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, with both numbers, and is a trouble until it is over; a broker that is down is none. So is a
    partition that has no leader for long."""
    monkeypatch.setattr(topic_watch, "LOOK_SECONDS", 0.001)
    supervisor, looks = Supervisor(), 0
    partitions: int | None = 8
    without: frozenset[int] = frozenset()

    async def ask(names: Iterable[str]) -> Looked:
        nonlocal looks
        looks += 1
        if partitions is None:
            raise KafkaConnectionError("down")
        return {
            name: TopicMetadata("id", partitions, without_leader=without)
            if name == "order-commands"
            else TopicMetadata("id", 8)
            for name in names
        }, []

    async def look() -> None:
        before = looks
        await until(lambda: looks > before + 1)

    task = supervisor.keep("topics", lambda: watch_topics(ask, type_topics("", "order", 8, OWNS), supervisor))
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


async def test_a_right_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is said, of topics that are made use of now and of others: which one, or of what cannot be seen all that are
    needed. It is over when the right is there again."""
    monkeypatch.setattr(topic_watch, "LOOK_SECONDS", 0.001)
    supervisor, wanted = Supervisor(), [*type_topics("", "order", 8, OWNS), *type_topics("", "order", 8, SENDS)]
    wanted.append(reply_topic("replies", 8, WRITE))
    rights, forbidden = dict[str, set[str]](), list[str]()

    async def ask(names: Iterable[str]) -> Looked:
        may = {name: frozenset(rights.get(name, {READ, WRITE})) for name in names if name not in forbidden}
        return {name: TopicMetadata("id", 3 if name == "replies" else 8, may[name]) for name in may}, forbidden

    task = supervisor.keep("topics", lambda: watch_topics(ask, wanted, supervisor))
    rights |= {"order-commands": {READ}, "order-logs": {WRITE}, "order-events": {WRITE}, "replies": {READ}}
    forbidden.append("order-dead-letters")
    await until(lambda: len(supervisor.troubles) == 5)
    said = {name: reason.partition("this process may not ")[2].partition(" to its user")[0]
            for name, reason in supervisor.troubles.items()}  # fmt: skip
    assert {
        "order-commands": "write to it: grant Write on it",
        "order-logs": "read it: grant Read on it",
        "order-events": "read it: grant Read on it",
        "order-dead-letters": "look at it: grant Write on it",
        "replies": "write to it: grant Write on it",
    } == said
    rights.clear()
    forbidden.clear()
    await until(lambda: not supervisor.troubles)
    task.cancel()


async def test_a_group_that_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, until this process may be in it again; a broker that is down says nothing of it. A topic of the same
    name is another trouble: the group for the commands of the context `checkout` has one."""
    monkeypatch.setattr(topic_watch, "LOOK_SECONDS", 0.001)
    supervisor, allowed, looks = Supervisor(), {"orders": True, "orders-commands": True}, 0
    supervisor.trouble("orders-commands", "the topic of this name may not be written to")
    both = ["orders-commands", "the consumer group orders-commands"]

    async def may_join(group: str) -> bool:
        nonlocal looks
        looks += 1
        if not allowed:
            raise KafkaConnectionError("down")
        return allowed[group]

    async def look() -> None:
        before = looks
        await until(lambda: looks > before + 2)

    task = supervisor.keep("groups", lambda: watch_groups(may_join, ["orders", "orders-commands"], supervisor))
    allowed["orders-commands"] = False
    await look()
    assert both == list(supervisor.troubles)
    assert "may not be a member of it: grant Read on the group" in supervisor.troubles[both[1]]
    allowed.clear()
    await look()
    assert both == list(supervisor.troubles)
    allowed |= {"orders": True, "orders-commands": True}
    await look()
    assert both[:1] == list(supervisor.troubles)
    task.cancel()
