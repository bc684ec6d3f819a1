"""The Kafka of these tests, and topics that are there for the length of a block."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.kafka.client_factory import ClientFactory
from streams.settings import Settings
from tests.e2e.client import eventually

SERVERS = Settings(kafka_brokers=os.environ.get("KAFKA_BROKERS", "kafka://127.0.0.1:9092")).bootstrap_servers


async def make_topics(admin: AIOKafkaAdminClient, *topics: NewTopic) -> None:
    """Make topics, and wait until brokers know them: that is a moment after the controller has said that they are made,
    and who only commits offsets is refused until then."""
    await admin.create_topics(list(topics))
    names = [topic.name for topic in topics]

    async def are_known() -> bool:
        return all(it["partitions"] and not it["error_code"] for it in await admin.describe_topics(names))

    await eventually(are_known, 20, f"brokers do not know {names}")


@asynccontextmanager
async def topics(*names: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> AsyncIterator[None]:
    """These topics; they are removed afterwards."""
    async with ClientFactory(SERVERS).administering() as admin:
        await make_topics(admin, *(NewTopic(name, partitions, 1, topic_configs=dict(config or {})) for name in names))
        try:
            yield
        finally:
            await admin.delete_topics(list(names))


@asynccontextmanager
async def new_topic(namespace: str, partitions: int, config: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """A topic under a name that no other test uses; it is removed afterwards."""
    name = f"{namespace}{uuid.uuid4().hex[:8]}"
    async with topics(name, partitions=partitions, config=config):
        yield name
