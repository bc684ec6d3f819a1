"""The topics of an aggregate type, which the application makes: names, partitions and retention."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streams.kafka.topic_metadata import TopicMetadata, cluster_id, read_metadata

log = logging.getLogger(__name__)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FOREVER = -1
MAX_REPLICATION = 3
METADATA_TIMEOUT = 30.0

_RESERVED = re.compile(r"-(commands|logs|commits|events|dead-letters|changelog|control)$")
_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class TopicError(Exception):
    """A topic is not as it must be; the message says what to do."""


@dataclass(frozen=True)
class Topic:
    """A topic to be made: retention in milliseconds, -1 for ever."""

    name: str
    partitions: int
    retention_ms: int
    cleanup: str = "delete"
    any_partitions: bool = False
    """Whether an existing topic serves with any number of partitions."""

    def configs(self, replication: int) -> dict[str, str]:
        """The settings of the topic, with this number of replicas.

        An acknowledged record outlives the loss of any one broker where there is another: with three replicas two must
        have it, and a replica that lacks it never becomes the leader.
        """
        return {
            "retention.ms": str(self.retention_ms),
            "cleanup.policy": self.cleanup,
            # The broker's clock. By the clock of a sender that is wrong, a message would be refused (an hour ahead) or
            # removed before it is read (behind).
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": str(max(1, replication - 1)),
            "unclean.leader.election.enable": "false",
        }


def commands_topic(namespace: str, type: str) -> str:
    return f"{namespace}{type}-commands"


def logs_topic(namespace: str, type: str) -> str:
    """The topic whose partitions are the seats of logs: by it a consumer group places them. It has no records."""
    return f"{namespace}{type}-logs"


def commits_topic(namespace: str, type: str) -> str:
    return f"{namespace}{type}-commits"


def events_topic(namespace: str, type: str) -> str:
    return f"{namespace}{type}-events"


def dead_letters_topic(namespace: str, type: str) -> str:
    return f"{namespace}{type}-dead-letters"


def control_topic(namespace: str, app: str = "projections") -> str:
    """The topic of the orders of operators to the projections of an app."""
    return f"{namespace}{app}-control"


def replies_topic(namespace: str) -> str:
    """The topic in which the project's own clients await replies."""
    return f"{namespace}replies"


def gateway_replies_topic(namespace: str) -> str:
    """The topic of replies to commands that came over HTTP."""
    return f"{namespace}gateway-replies"


def type_topics(namespace: str, type: str, partitions: int) -> list[Topic]:
    """All topics of an aggregate type. Events and dead letters stay for ever; commands for a week, since
    the journal holds what they caused; a hint is stale within seconds."""
    return [
        Topic(commands_topic(namespace, type), partitions, 7 * DAY),
        Topic(logs_topic(namespace, type), partitions, HOUR),
        Topic(commits_topic(namespace, type), partitions, HOUR),
        Topic(events_topic(namespace, type), partitions, FOREVER),
        Topic(dead_letters_topic(namespace, type), partitions, FOREVER),
    ]


def reply_topic(name: str, partitions: int) -> Topic:
    """A topic for replies: nobody waits for one longer than a day."""
    return Topic(name, partitions, DAY, any_partitions=True)


def changelog_topic(name: str, partitions: int) -> Topic:
    """A table's changelog: the last value of each key, for ever."""
    return Topic(name, partitions, FOREVER, cleanup="compact")


def may_take_replies(topic: str) -> bool:
    """Whether a client may name this topic for its replies: not one that the system itself reads."""
    return (
        bool(_LEGAL.fullmatch(topic))
        and topic not in (".", "..")
        and not topic.startswith("__")
        and not _RESERVED.search(topic)
    )


async def ensure_topics(
    bootstrap_servers: list[str], topics: Iterable[Topic], **security: Any
) -> Mapping[str, TopicMetadata]:
    """Make the missing topics, and return the metadata of all of them. Those that are made have leaders by then; of the
    others a partition may have none just now: its trouble is its own.

    Raises `TopicError` when a topic has another number of partitions, before any topic is made: a key would belong to
    another partition, and an aggregate to another owner.
    """
    wanted = {topic.name: topic for topic in topics}
    missing: list[Topic] = []
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, **security)
    try:
        await admin.start()
        client = admin._client
        present = await read_metadata(client, wanted)
        _check(wanted, present)
        missing = [topic for name, topic in wanted.items() if name not in present]
        if missing:
            replication = min(MAX_REPLICATION, len(client.cluster.brokers()))
            await _create(admin, missing, replication)
            async with asyncio.timeout(METADATA_TIMEOUT):
                while not _are_led(missing, present):
                    await asyncio.sleep(0.05)
                    present = await read_metadata(client, wanted)
        await _look_at_times(admin, [name for name in wanted if name.endswith(commands_topic("", ""))])
    except TimeoutError:
        names = ", ".join(topic.name for topic in missing if not _are_led([topic], present))
        raise TopicError(
            f"Kafka has no leader for {names} after {METADATA_TIMEOUT:.0f} s: look at the brokers"
        ) from None
    finally:
        await admin.close()
    _check(wanted, present)
    return present


def _are_led(topics: Iterable[Topic], present: Mapping[str, TopicMetadata]) -> bool:
    """Whether all partitions of these topics have leaders."""
    return all(topic.name in present and not present[topic.name].without_leader for topic in topics)


async def _look_at_times(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    """Warn about topics of these that have the times of senders."""
    try:
        responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    except (KafkaError, TimeoutError):  # it must not be asked, or does not answer
        return
    for _, _, _, name, entries in (resource for response in responses for resource in response.resources):
        times = {key: value for key, value, *_ in entries}.get("message.timestamp.type")
        if times not in (None, "LogAppendTime"):
            log.warning(
                "topic %s has message.timestamp.type=%s: a command is dated by its sender's clock, and Kafka removes"
                " what that says is old; let it have LogAppendTime",
                name,
                times,
            )


async def look_at_topics(
    bootstrap_servers: list[str], topics: Iterable[Topic], **security: Any
) -> tuple[str, list[str]]:
    """The id of the cluster, and the topics that it does not have; those that it has are as they must be. Makes none.

    Raises `TopicError`, and `KafkaError` while no broker answers.
    """
    wanted = {topic.name: topic for topic in topics}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, **security)
    try:
        await admin.start()
        present = await read_metadata(admin._client, wanted)
        _check(wanted, present)
        return await cluster_id(admin._client), [name for name in wanted if name not in present]
    finally:
        await admin.close()


def _check(wanted: Mapping[str, Topic], present: Mapping[str, TopicMetadata]) -> None:
    for name, topic in wanted.items():
        metadata = present.get(name)
        if metadata is not None and metadata.partitions != topic.partitions and not topic.any_partitions:
            raise TopicError(
                f"topic {name} has {metadata.partitions} partitions, PARTITIONS says {topic.partitions}: start with the"
                " number that the others were made with, which cannot be changed while there are aggregates; for a"
                ' topic altered by hand see "What belongs together" in docs/operations.md'
            )


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], replication: int) -> None:
    response = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.configs(replication))
            for topic in topics
        ]
    )
    for name, code, *rest in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise TopicError(f"topic {name} cannot be made: {error.__name__} {rest[0] if rest and rest[0] else ''}")
