"""The largest batch that each topic takes: a topic may be set to less than a record needs, and raised for it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DescribeConfigsRequest

from streams.kafka.topic_metadata import ask_any

LIMIT_SECONDS = 30.0
"""The time for which an answer holds."""
USUAL_LARGEST = 1_048_588
"""Kafka's default of `max.message.bytes`."""
_MAY_NOT_ASK = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError, IncompatibleBrokerVersion)
_TOPIC = 2  # a resource, as DescribeConfigs has them


class RecordTooLarge(KafkaError):  # type: ignore[misc]
    """A topic does not take a record. Sizes are in bytes, with all that Kafka adds; `sent` records before it were
    taken."""

    def __init__(self, topic: str, size: int, limit: int, sent: int = 0) -> None:
        super().__init__(
            f"a record of {size} bytes, and {topic} takes {limit}: raise max.message.bytes of that topic to let it in"
        )
        self.topic, self.size, self.limit, self.sent = topic, size, limit, sent


class TopicLimits:
    """Bytes of the largest batch by topic, with all that Kafka adds. `ask` asks Kafka."""

    def __init__(self, ask: Callable[[str], Awaitable[int]]) -> None:
        self._ask = ask
        self._known: dict[str, tuple[int, float]] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._known

    async def largest(self, topic: str) -> int:
        """The largest batch of a topic. While Kafka does not answer, the last answer holds.

        Raises `KafkaError`, `TimeoutError` where nothing is known.
        """
        limit, until = self._known.get(topic, (0, 0.0))
        if time.monotonic() >= until:
            try:
                limit = await self._ask(topic)
            except (KafkaError, TimeoutError):
                if not limit:
                    raise
            self.learn(topic, limit)
        return limit

    def learn(self, topic: str, limit: int) -> None:
        """Take this limit for right for 30 s."""
        self._known[topic] = limit, time.monotonic() + LIMIT_SECONDS


async def ask_largest(client: Any, topic: str) -> int:
    """`max.message.bytes` of a topic, Kafka's default where that may not be asked, through an AIOKafkaClient.

    Raises `KafkaError`, `TimeoutError` where Kafka does not answer: that says nothing about the topic.
    """
    request = DescribeConfigsRequest([(_TOPIC, topic, ["max.message.bytes"])])
    try:
        response = await ask_any(client, request)
        [(code, _, _, _, entries)] = response.resources
        if code:
            raise for_code(code)
        [(_, value, *_)] = entries
        return int(value)
    except (*_MAY_NOT_ASK, ValueError):
        return USUAL_LARGEST
