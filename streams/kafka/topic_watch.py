"""The watch over the partitions of topics: their number, which anybody can raise by hand, and their leaders."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

from aiokafka.errors import KafkaError

from streams.concurrency.supervisor import Supervisor
from streams.kafka.topic_metadata import TopicMetadata
from streams.kafka.topics import Topic

log = logging.getLogger(__name__)

LOOK_SECONDS = 20.0


async def watch_partitions(
    existing: Callable[[Iterable[str]], Awaitable[dict[str, TopicMetadata | None]]],
    wanted: Iterable[Topic],
    supervisor: Supervisor,
) -> None:
    """Look every 20 s, for ever; `existing` asks the broker.

    A topic with more partitions is a trouble of the worker: a sender that goes by their number has another partition
    for the same key, and nobody decides the commands there. So are partitions that have no leader at two looks: what
    is of them waits.
    """
    topics = {topic.name: topic for topic in wanted}
    without: dict[str, frozenset[int]] = {}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            present = await existing(topics)
        except (KafkaError, TimeoutError):
            continue
        for name, topic in topics.items():
            described = present.get(name)
            if described is None:  # deleted: whoever reads or writes it says so
                continue
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
    return ""
