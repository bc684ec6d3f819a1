"""Requests and answers as bytes and as structs: those of aiokafka, whose clients are spoken with."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from aiokafka.protocol import admin, commit, coordination, fetch, group, metadata, offset, produce, transaction
from aiokafka.protocol.types import TaggedFields

from streams.kafka.metadata_structs import MetadataRequest_v12

API_VERSIONS = 18
UNSUPPORTED_VERSION = 35
_STRUCTS: tuple[Any, ...] = (
    *(getattr(produce, f"ProduceRequest_v{version}") for version in range(3, 8)),
    *(getattr(fetch, f"FetchRequest_v{version}") for version in range(4, 12)),
    *(getattr(offset, f"OffsetRequest_v{version}") for version in range(1, 4)),
    *(getattr(metadata, f"MetadataRequest_v{version}") for version in range(6)),
    MetadataRequest_v12,
    commit.OffsetCommitRequest_v2,
    commit.OffsetCommitRequest_v3,
    *(getattr(commit, f"OffsetFetchRequest_v{version}") for version in range(1, 4)),
    coordination.FindCoordinatorRequest_v0,
    coordination.FindCoordinatorRequest_v1,
    *(getattr(group, f"JoinGroupRequest_v{version}") for version in (0, 1, 2, 5)),
    group.HeartbeatRequest_v0,
    group.HeartbeatRequest_v1,
    group.LeaveGroupRequest_v0,
    group.LeaveGroupRequest_v1,
    *(getattr(group, f"SyncGroupRequest_v{version}") for version in (0, 1, 3)),
    *(getattr(admin, f"DescribeGroupsRequest_v{version}") for version in range(3)),
    admin.ListGroupsRequest_v0,
    admin.ListGroupsRequest_v1,
    *(getattr(admin, f"ApiVersionRequest_v{version}") for version in range(3)),
    *(getattr(admin, f"CreateTopicsRequest_v{version}") for version in range(4)),
    *(getattr(admin, f"DeleteTopicsRequest_v{version}") for version in range(4)),
    admin.DeleteRecordsRequest_v0,
    admin.DeleteRecordsRequest_v1,
    transaction.InitProducerIdRequest_v0,
    *(getattr(admin, f"DescribeConfigsRequest_v{version}") for version in range(3)),
    admin.AlterConfigsRequest_v0,
    admin.AlterConfigsRequest_v1,
    admin.CreatePartitionsRequest_v0,
    admin.CreatePartitionsRequest_v1,
    admin.DeleteGroupsRequest_v0,
    admin.DeleteGroupsRequest_v1,
)
_BY_VERSION = {(it.API_KEY, it.API_VERSION): it for it in _STRUCTS}
_HEAD = struct.Struct(">hhih")
_SIZE = struct.Struct(">i")


def versions() -> list[tuple[int, int, int]]:
    """By API key the least and the greatest version that is understood. Between them some may be missing: aiokafka has
    no struct for those, and so asks in none of them."""
    found: dict[int, list[int]] = {}
    for key, version in _BY_VERSION:
        found.setdefault(key, []).append(version)
    return [(key, min(known), max(known)) for key, known in sorted(found.items())]


class NotUnderstood(Exception):
    """Bytes that are no request, or one that this broker does not know: the connection ends."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    key: int
    version: int
    correlation_id: int
    client_id: str
    body: Any
    """A struct of aiokafka; None for a question after versions in a version that is not known here."""

    def answer(self, *values: object) -> bytes:
        """The answer of these values, in the order of the response's schema, with its size before it."""
        return self.framed(self.body.RESPONSE_TYPE(*values).encode())

    def framed(self, payload: bytes) -> bytes:
        """An answer, with its head."""
        head = _SIZE.pack(self.correlation_id)
        if self.body is not None and self.body.FLEXIBLE_VERSION:
            head += b"\0"
        return _SIZE.pack(len(head) + len(payload)) + head + payload


def decoded(frame: bytes) -> Asked:
    """A request without its size. Raises `NotUnderstood`."""
    try:
        key, version, correlation_id, length = _HEAD.unpack_from(frame)
        at = _HEAD.size + max(length, 0)
        client_id = frame[_HEAD.size : at].decode()
        known = _BY_VERSION.get((key, version))
        if known is None and key == API_VERSIONS:
            return Asked(key, version, correlation_id, client_id, None)
        if known is None:
            raise NotUnderstood(f"request {key} in version {version}")
        body = BytesIO(frame)
        body.seek(at)
        if known.FLEXIBLE_VERSION:
            TaggedFields.decode(body)
        return Asked(key, version, correlation_id, client_id, known.decode(body))
    except (struct.error, ValueError, IndexError, TypeError) as error:
        raise NotUnderstood(f"{error}") from None


def versions_for_strangers(asked: Asked) -> bytes:
    """The answer to a question after versions in a version that is not known: it has the form of the oldest one."""
    known = versions()
    rows = b"".join(struct.pack(">hhh", *row) for row in known)
    return asked.framed(struct.pack(">hi", UNSUPPORTED_VERSION, len(known)) + rows)
