"""Topics as the broker has them, with their ids (KIP-516): aiokafka asks for metadata without."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.client import CoordinationType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.api import Request
from aiokafka.protocol.group import HeartbeatRequest

from streams.kafka.metadata_structs import MetadataRequest_v12
from streams.security.refusals import TopicForbidden


class _TopicIdsRequest(Request[MetadataRequest_v12]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[MetadataRequest_v12]) -> MetadataRequest_v12:
        return request_struct_class([(uuid.UUID(int=0), topic, {}) for topic in self._topics], False, True, {})


READ, WRITE = "Read", "Write"
_RIGHTS = {READ: 3, WRITE: 4}
"""By right its bit among the operations of a resource (KIP-430)."""


@dataclass(frozen=True)
class TopicMetadata:
    """The metadata of a topic. `id` changes when the topic is deleted and made again. The partitions `without_leader`
    can be neither read nor written just now, as while their brokers start."""

    id: str
    partitions: int
    rights: frozenset[str] | None = None
    """What this process may do with it, of READ and WRITE; None where the broker does not say."""
    without_leader: frozenset[int] = frozenset()
    copies: int = 1
    """How often each partition is kept, the one that is kept least."""


def _of(topic: Mapping[str, Any]) -> TopicMetadata:
    without = frozenset(partition["partition"] for partition in topic["partitions"] if partition["leader"] < 0)
    copies = min((len(partition["replicas"]) for partition in topic["partitions"]), default=1)
    return TopicMetadata(topic["topic_id"].hex, len(topic["partitions"]), _rights(topic), without, copies)


def _rights(topic: Mapping[str, Any]) -> frozenset[str] | None:
    operations = topic["authorized_operations"]
    return None if operations < 0 else frozenset(name for name, bit in _RIGHTS.items() if operations >> bit & 1)


async def ask_any(client: Any, request: Request[Any]) -> Any:
    """What any broker can answer, by the first that does, through an AIOKafkaClient: one of them may be down. Raises
    the `KafkaError` of the last."""
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    failed: KafkaError = KafkaConnectionError("no broker is known")
    for node in random.sample(nodes, len(nodes)):
        try:
            return await client.send(node, request)
        except KafkaError as error:
            failed = error
    raise failed


async def cluster_id(client: Any) -> str:
    """The id of the cluster that an AIOKafkaClient is connected to: it is made with the cluster, and stays. Empty for
    brokers that have none."""
    response = (await ask_any(client, _TopicIdsRequest(()))).to_object()
    return response["cluster_id"] or ""


async def read_metadata(client: Any, topics: Iterable[str]) -> dict[str, TopicMetadata]:
    """The `topics` that exist, as any broker says, through an AIOKafkaClient."""
    return {name: topic for name, topic in (await existing(client, topics)).items() if topic is not None}


async def existing(client: Any, topics: Iterable[str]) -> dict[str, TopicMetadata | None]:
    """The `topics` that exist; None where Kafka cannot say yet what it is, as just after it was made.

    Raises `TopicForbidden` where one of them may not be looked at: whether it exists is not known.
    """
    found, forbidden = await look(client, topics)
    if forbidden:
        raise TopicForbidden(forbidden)
    return found


async def look(client: Any, topics: Iterable[str]) -> tuple[dict[str, TopicMetadata | None], list[str]]:
    """The same, and beside it those that may not be looked at."""
    response = (await ask_any(client, _TopicIdsRequest(topics))).to_object()
    found = {
        topic["topic"]: _of(topic) if topic["error_code"] == 0 else None
        for topic in response["topics"]
        if topic["error_code"] in (0, LeaderNotAvailableError.errno)
    }
    forbidden = TopicAuthorizationFailedError.errno
    return found, [topic["topic"] for topic in response["topics"] if topic["error_code"] == forbidden]


async def may_join(client: Any, group: str) -> bool:
    """Whether this process may be a member of a consumer group. Raises `KafkaError`."""
    try:
        broker = await client.coordinator_lookup(CoordinationType.GROUP, group)
    except GroupAuthorizationFailedError:
        return False
    # Of nobody: who may be a member hears that he is none, and nothing comes of it.
    answer = await client.send(broker, HeartbeatRequest(group, -1, ""))
    return bool(answer.error_code != GroupAuthorizationFailedError.errno)
