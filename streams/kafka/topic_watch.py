"""The watch over the number of partitions of topics, which anybody can raise by hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

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
    for the same key, and nobody decides the commands there.
    """
    topics = {topic.name: topic for topic in wanted}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            present = await existing(topics)
        except (KafkaError, TimeoutError):
            continue
        for name, topic in topics.items():
            described = present.get(name)
            if described is None:  # deleted, or without a leader: whoever reads or writes it says so
                continue
            if described.partitions == topic.partitions:
                supervisor.well(name)
                continue
            reason = (
                f"{name} has {described.partitions} partitions, PARTITIONS says {topic.partitions}: nobody reads the "
                "others, and who sends by that number misses the owner of a key"
            )
            if supervisor.trouble(name, reason):
                log.error("%s. Kafka cannot take partitions away: see docs/operations.md", reason)
