"""The watch over topics: the number of their partitions, which anybody can raise by hand, their leaders, and whether
this process may still do with them what it has to; and whether it may still be in its consumer groups."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

from aiokafka.errors import KafkaError

from streams.concurrency.supervisor import Supervisor
from streams.kafka.client import KafkaClient
from streams.kafka.topic_metadata import TopicMetadata
from streams.kafka.topics import Topic, by_name, lacking
from streams.security.refusals import TopicForbidden, group_forbidden, group_named

log = logging.getLogger(__name__)

LOOK_SECONDS = 20.0


def watches(
    broker: KafkaClient, topics: Iterable[Topic], groups: Iterable[str], supervisor: Supervisor
) -> list[asyncio.Task[None]]:
    """The tasks that look at both."""
    return [
        supervisor.keep("topics", lambda: watch_topics(broker.look, topics, supervisor)),
        supervisor.keep("consumer groups", lambda: watch_groups(broker.may_join, groups, supervisor)),
    ]


async def watch_groups(
    may_join: Callable[[str], Awaitable[bool]], groups: Iterable[str], supervisor: Supervisor
) -> None:
    """Look every 20 s, for ever; `may_join` asks the broker. A group in which this process may not be is a trouble."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for group in groups:
            with contextlib.suppress(KafkaError, TimeoutError):
                if await may_join(group):
                    supervisor.well(group_named(group))
                elif supervisor.trouble(group_named(group), reason := group_forbidden(group)):
                    log.error("%s", reason)


async def watch_topics(
    look: Callable[[Iterable[str]], Awaitable[tuple[dict[str, TopicMetadata | None], list[str]]]],
    wanted: Iterable[Topic],
    supervisor: Supervisor,
) -> None:
    """Look every 20 s, for ever; `look` asks the broker, for the topics that there are and those that are forbidden.

    A topic with more partitions is a trouble of the worker: a sender that goes by their number has another partition
    for the same key, and nobody decides the commands there. So are partitions that have no leader at two looks: what
    is of them waits. So is a right that is missing, also where it will be made use of only some day.
    """
    topics = by_name(topic for topic in wanted if topic.needs)
    without: dict[str, frozenset[int]] = {}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            present, forbidden = await look(topics)
        except (KafkaError, TimeoutError):
            continue
        for name, topic in topics.items():
            described = present.get(name)
            if name in forbidden:
                reason = str(TopicForbidden(name, right=" and ".join(topic.needs)))
            elif described is None:  # deleted: whoever reads or writes it says so
                continue
            else:
                lasting = described.without_leader & without.get(name, frozenset())
                without[name] = described.without_leader
                reason = _trouble(topic, described, lasting)
            if not reason:
                supervisor.well(name)
            elif supervisor.trouble(name, reason):
                log.error("%s", reason)


def _trouble(topic: Topic, described: TopicMetadata, without_leader: Collection[int]) -> str:
    if described.partitions != topic.partitions and not topic.any_partitions:
        return (
            f"{topic.name} has {described.partitions} partitions, PARTITIONS says {topic.partitions}: nobody reads the "
            "others, and who sends by that number misses the owner of a key. Kafka cannot take partitions away: see "
            "docs/operations.md"
        )
    if without_leader:
        which = ", ".join(map(str, sorted(without_leader)))
        return f"{topic.name} has no leader of partition {which}: what is of it waits. Look at the brokers"
    return lacking(topic, described.rights)
