"""Whether the topics still have the number of partitions that they were made with: anybody can add some by hand."""

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
    """Look for ever, every 20 s; `existing` asks the broker. A topic that has more partitions is a trouble of the
    worker: who sends by its number of partitions has another one for the same key, and nobody decides what goes there.
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
