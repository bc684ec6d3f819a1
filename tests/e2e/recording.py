"""A worker that writes down what Kafka would have to allow it: `python -m tests.e2e.recording FILE -A <app> worker ..`.

Each request of each of its clients is taken for the operation that brokers ask an authorizer about.
Source: the table of operations and resources in Kafka's documentation, "Authorization and ACLs".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aiokafka.conn import AIOKafkaConnection

TOPIC_OPERATIONS = {
    "Produce": "Write",
    "Fetch": "Read",
    "ListOffsets": "Describe",
    "Offset": "Describe",  # aiokafka's name for it
    "Metadata": "Describe",
    "_Metadata": "Describe",
    "OffsetCommit": "Read",
    "OffsetFetch": "Describe",
    "CreateTopics": "Create",
    "DescribeConfigs": "DescribeConfigs",
}
GROUP_OPERATIONS = {
    "OffsetCommit": "Read",
    "OffsetFetch": "Describe",
    "JoinGroup": "Read",
    "SyncGroup": "Read",
    "Heartbeat": "Read",
    "LeaveGroup": "Read",
    "DescribeGroups": "Describe",
    "FindCoordinator": "Describe",
}
NOT_ASKED_ABOUT = {"ApiVersion", "ApiVersions", "InitProducerId", "SaslHandShake", "SaslAuthenticate"}
"""Of InitProducerId brokers since 2.8 ask whether any topic may be written to."""

Used = tuple[str, str, str]
"""Resource, name and operation."""


def used_by(request: Any) -> Iterator[Used]:
    """What a request, as it is sent, makes use of. Raises `KeyError` for one that nobody knows here."""
    name = type(request).__name__.partition("Request")[0]
    fields = request.to_object()
    if name in NOT_ASKED_ABOUT:
        return
    if name not in TOPIC_OPERATIONS and name not in GROUP_OPERATIONS:
        raise KeyError(f"{type(request).__name__}: {fields}")
    if name in TOPIC_OPERATIONS:
        for topic in _topics(name, fields):
            yield "topic", topic, TOPIC_OPERATIONS[name]
    if name in GROUP_OPERATIONS:
        for group in _groups(fields):
            yield "group", group, GROUP_OPERATIONS[name]


def _topics(name: str, fields: dict[str, Any]) -> Iterable[str]:
    if name == "DescribeConfigs":
        return [resource["resource_name"] for resource in fields["resources"] if resource["resource_type"] == 2]
    for field in ("topics", "create_topic_requests"):
        if field in fields:
            listed = fields[field] or ()
            return [item if isinstance(item, str) else item.get("topic") or item["name"] for item in listed]
    raise KeyError(f"{name}: {fields}")


def _groups(fields: dict[str, Any]) -> Iterable[str]:
    for field in ("group", "group_id", "consumer_group", "coordinator_key"):
        if field in fields:
            return [fields[field]]
    return list(fields["groups"])


def record(file: Path) -> None:
    """Have all connections of this process write down, once each, what they make use of."""
    send, seen = AIOKafkaConnection.send, set[Used]()

    def recorded(self: Any, request: Any, expect_response: bool = True) -> Any:
        with file.open("a") as out:
            for used in used_by(request.prepare(self._versions)):
                if used not in seen:
                    seen.add(used)
                    out.write(json.dumps(used) + "\n")
        return send(self, request, expect_response)

    AIOKafkaConnection.send = recorded


def recorded_in(file: Path) -> set[Used]:
    """What was written down."""
    return {tuple(json.loads(line)) for line in file.read_text().splitlines()}


if __name__ == "__main__":
    record(Path(sys.argv[1]))
    sys.argv[:2] = ["faust"]
    from faust.cli.faust import cli

    cli()
