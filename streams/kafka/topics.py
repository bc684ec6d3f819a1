"""The topics of an aggregate type, which the application makes: names, partitions and retention."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DescribeConfigsRequest

from streams.kafka.client_factory import ClientFactory
from streams.kafka.topic_metadata import READ as READ
from streams.kafka.topic_metadata import WRITE as WRITE
from streams.kafka.topic_metadata import TopicMetadata, ask_any, cluster_id, look
from streams.notices import warn
from streams.security.refusals import TopicForbidden

log = logging.getLogger(__name__)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FOREVER = -1
USUAL_COPIES = 3
METADATA_TIMEOUT = 30.0


Needs = Mapping[str, tuple[str, ...]]
"""Rights by the kind of topic, as `commands`."""
OWNS: Needs = {
    "commands": (READ,),
    "logs": (READ, WRITE),
    "commits": (WRITE,),
    "events": (READ,),
    "dead-letters": (WRITE,),
}
"""What a worker needs that decides the commands of a type."""
SENDS_ITSELF: Needs = {"commands": (READ, WRITE)}
"""And more of one that also sends commands to its own type, as one does that hears events."""
PUBLISHES: Needs = {"commits": (READ,), "events": (READ, WRITE)}
SENDS: Needs = {"commands": (WRITE,)}
READS: Needs = {"events": (READ,)}


_DOING = {READ: "read", WRITE: "write to"}


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
    needs: tuple[str, ...] = ()
    """The rights without which this process cannot do what it has the topic for."""

    def configs(self, copies: int) -> dict[str, str]:
        """The settings of the topic, of which each partition has so many copies.

        An acknowledged record outlives the loss of any one broker where there are three: two must have it, and a
        replica that lacks it never becomes the leader.
        """
        return {
            "retention.ms": str(self.retention_ms),
            "cleanup.policy": self.cleanup,
            # The broker's clock. By the clock of a sender that is wrong, a message would be refused (an hour ahead) or
            # removed before it is read (behind).
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": str(in_sync(copies)),
            "unclean.leader.election.enable": "false",
        }


def in_sync(copies: int) -> int:
    """How many of a partition's copies must have a record before it is acknowledged: so many that it can be written to
    without one of two or three brokers, or without two of five."""
    return (copies + 1) // 2


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


def audit_topic(namespace: str, days: int, *needs: str) -> Topic:
    """The topic of what operators order, of all apps of a namespace: in one order, and kept for so many days."""
    return Topic(f"{namespace}operations-audit", 1, days * DAY, any_partitions=True, needs=needs)


def keys_topic(namespace: str, context: str) -> str:
    """The topic of the keys with which the workers of a context check in whose name commands come."""
    return f"{namespace}{context}-keys"


def replies_topic(namespace: str) -> str:
    """The topic in which the project's own clients await replies."""
    return f"{namespace}replies"


def gateway_replies_topic(namespace: str) -> str:
    """The topic of replies to commands that came over HTTP."""
    return f"{namespace}gateway-replies"


def type_topics(namespace: str, type: str, partitions: int, needs: Needs | None = None) -> list[Topic]:
    """All topics of an aggregate type, with what this process `needs` of them. Events and dead letters stay for ever;
    commands for a week, since the journal holds what they caused; a hint is stale within seconds."""
    kinds = {
        "commands": (commands_topic, 7 * DAY),
        "logs": (logs_topic, HOUR),
        "commits": (commits_topic, HOUR),
        "events": (events_topic, FOREVER),
        "dead-letters": (dead_letters_topic, FOREVER),
    }
    needed = needs or {}
    return [
        Topic(name(namespace, type), partitions, kept, needs=needed.get(kind, ()))
        for kind, (name, kept) in kinds.items()
    ]


def reply_topic(name: str, partitions: int, *needs: str) -> Topic:
    """A topic for replies: nobody waits for one longer than a day."""
    return Topic(name, partitions, DAY, any_partitions=True, needs=needs)


def changelog_topic(name: str, partitions: int) -> Topic:
    """A table's changelog: the last value of each key, for ever."""
    return Topic(name, partitions, FOREVER, cleanup="compact", needs=(READ, WRITE))


def key_topic(name: str, *needs: str) -> Topic:
    """A topic of keys: the last value of each, for ever."""
    return Topic(name, 1, FOREVER, cleanup="compact", needs=needs)


async def ensure_topics(
    clients: ClientFactory, topics: Iterable[Topic], make: bool = True
) -> Mapping[str, TopicMetadata]:
    """Make the missing topics, and return the metadata of all of them. Those that are made have leaders by then; of the
    others a partition may have none just now: its trouble is its own.

    Raises `TopicError` when one is missing and none is to be made, and when a topic has another number of partitions,
    before any topic is made: a key would belong to another partition, and an aggregate to another owner. Likewise where
    this process lacks a right; what it does not need, and may not look at, or is not to make, is left out.
    """
    wanted = by_name(topic for topic in topics if make or topic.needs)
    async with clients.administering() as admin:
        client = admin._client
        present = await _present(client, wanted)
        missing = [topic for name, topic in wanted.items() if name not in present]
        if missing and not make:
            names = ", ".join(sorted(topic.name for topic in missing))
            raise TopicError(f"there is no topic {names}, and SETUP=never: run `faust -A <app> setup`")
        if missing:
            await _make(admin, missing, clients.copies)
            present = await _once_led(client, wanted, missing)
        _warn_of_few_copies(present, clients.copies or min(USUAL_COPIES, len(client.cluster.brokers())))
        await _look_at_settings(client, wanted, present)
    return present


async def _once_led(client: Any, wanted: dict[str, Topic], made: Sequence[Topic]) -> dict[str, TopicMetadata]:
    """The metadata of all topics, as soon as those that were made have leaders. Raises `TopicError`."""
    present: dict[str, TopicMetadata] = {}
    try:
        async with asyncio.timeout(METADATA_TIMEOUT):
            present = await _present(client, wanted)
            while not _are_led(made, present):
                await asyncio.sleep(0.05)
                present = await _present(client, wanted)
    except TimeoutError:
        names = ", ".join(topic.name for topic in made if not _are_led([topic], present))
        raise TopicError(
            f"Kafka has no leader for {names} after {METADATA_TIMEOUT:.0f} s: look at the brokers"
        ) from None
    return present


def _are_led(topics: Iterable[Topic], present: Mapping[str, TopicMetadata]) -> bool:
    """Whether all partitions of these topics have leaders."""
    return all(topic.name in present and not present[topic.name].without_leader for topic in topics)


def _warn_of_few_copies(present: Mapping[str, TopicMetadata], wanted: int) -> None:
    """Warn about topics that are not kept as often as they might be."""
    if few := sorted(name for name, topic in present.items() if topic.copies < wanted):
        warn(
            log,
            "topic-copies",
            "",
            "%s: Kafka keeps fewer than %d copies, and what it has acknowledged may be lost with a broker: give them %d"
            ' by kafka-reassign-partitions, see "Topics" in docs/operations.md',
            ", ".join(few),
            wanted,
            wanted,
        )


async def _look_at_settings(client: Any, wanted: Mapping[str, Topic], present: Mapping[str, TopicMetadata]) -> None:
    """Warn about topics of commands that have the times of senders, and about topics of which one copy may be
    acknowledged although there are three."""
    commands = {name for name in wanted if name.endswith(commands_topic("", ""))}
    asked = commands | {name for name, topic in wanted.items() if WRITE in topic.needs}
    unsafe = []
    for name, settings in (await _settings(client, sorted(asked))).items():
        times, acknowledged = settings.get("message.timestamp.type"), settings.get("min.insync.replicas")
        if name in commands and times not in (None, "LogAppendTime"):
            warn(
                log,
                "topic-clock",
                name,
                "topic %s has message.timestamp.type=%s: a command is dated by its sender's clock, and Kafka removes"
                " what that says is old; let it have LogAppendTime",
                name,
                times,
            )
        if acknowledged == "1" and present[name].copies >= USUAL_COPIES:
            unsafe.append(name)
    if unsafe:
        text = "%s: min.insync.replicas=1, and what one broker alone has is acknowledged: set it to 2"
        warn(log, "topic-one-copy", "", text, ", ".join(unsafe))


async def _settings(client: Any, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings of topics by name; of none where they must not be asked for, or Kafka does not answer."""
    request = DescribeConfigsRequest([(ConfigResourceType.TOPIC, name, None) for name in names])
    try:
        response = await ask_any(client, request)
    except (KafkaError, TimeoutError):
        return {}
    return {name: {key: value for key, value, *_ in entries} for _, _, _, name, entries in response.resources}


async def look_at_topics(clients: ClientFactory, topics: Iterable[Topic]) -> tuple[str, list[str]]:
    """The id of the cluster, and the topics that it does not have; those that it has are as they must be. Makes none.

    Raises `TopicError`, and `KafkaError` while no broker answers.
    """
    wanted = by_name(topics)
    async with clients.administering() as admin:
        present = await _present(admin._client, wanted)
        return await cluster_id(admin._client), [name for name in wanted if name not in present]


async def _present(client: Any, wanted: dict[str, Topic]) -> dict[str, TopicMetadata]:
    """Those that exist, and are as they must be. What may not be looked at, and is not needed, is
    removed from `wanted`. Raises `TopicError`."""
    existing, forbidden = await look(client, wanted)
    for name in forbidden:
        if wanted.pop(name).needs:
            raise TopicError(str(TopicForbidden(name)))
    present = {name: metadata for name, metadata in existing.items() if metadata is not None}
    _check(wanted, present)
    return present


def by_name(topics: Iterable[Topic]) -> dict[str, Topic]:
    """Each topic once, with all that is needed of it."""
    found: dict[str, Topic] = {}
    for topic in topics:
        needs = dict.fromkeys([*found.get(topic.name, topic).needs, *topic.needs])
        found[topic.name] = replace(topic, needs=tuple(needs))
    return found


def _check(wanted: Mapping[str, Topic], present: Mapping[str, TopicMetadata]) -> None:
    for name, topic in wanted.items():
        metadata = present.get(name)
        if metadata is not None and metadata.partitions != topic.partitions and not topic.any_partitions:
            raise TopicError(
                f"topic {name} has {metadata.partitions} partitions, PARTITIONS says {topic.partitions}: start with the"
                " number that the others were made with, which cannot be changed while there are aggregates; for a"
                ' topic altered by hand see "What belongs together" in docs/operations.md'
            )
        if metadata is not None and (missing := lacking(topic, metadata.rights)):
            raise TopicError(missing)


def lacking(topic: Topic, rights: frozenset[str] | None) -> str:
    """What is said where this process has not all rights that it needs of a topic; empty where it has, or the broker
    does not say which it has."""
    for right in topic.needs:
        if rights is not None and right not in rights:
            return str(TopicForbidden(topic.name, _DOING[right], right))
    return ""


async def _make(admin: AIOKafkaAdminClient, topics: list[Topic], copies: int) -> None:
    """Make topics with so many copies; 0: with three, or with as many as Kafka has brokers.

    Kafka counts the brokers that it knows, whether or not they are up just now; so what is made while one of three is
    down has three copies. Raises `TopicError`, and `KafkaError` where no broker takes a topic.
    """
    missing = topics
    for count in [copies] if copies else range(USUAL_COPIES, 0, -1):
        missing = await _refused(admin, missing, count)
        if not missing:
            return
    if copies:
        raise TopicError(f"Kafka has fewer than REPLICAS={copies} brokers: start the others, or say how many there are")
    raise InvalidReplicationFactorError("no broker takes topics")


async def _refused(admin: AIOKafkaAdminClient, topics: list[Topic], copies: int) -> list[Topic]:
    """Make topics with so many copies, and return those for which Kafka has too few brokers. Raises `TopicError`."""
    response = await admin.create_topics(
        [NewTopic(topic.name, topic.partitions, copies, topic_configs=topic.configs(copies)) for topic in topics]
    )
    refused = set()
    for name, code, *rest in response.topic_errors:
        error = for_code(code)
        if error is InvalidReplicationFactorError:
            refused.add(name)
        elif error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            may_not = "this process may not make it: an administrator is to run `faust -A <app> setup`"
            raise TopicError(f"there is no topic {name}, and {may_not}")
        elif code and error is not TopicAlreadyExistsError:
            raise TopicError(f"topic {name} cannot be made: {error.__name__} {rest[0] if rest and rest[0] else ''}")
    return [topic for topic in topics if topic.name in refused]
