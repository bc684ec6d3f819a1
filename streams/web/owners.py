"""`/owners` of a command app: what this worker owns, and how far each partition is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from streams.journal.port import stream_name
from streams.ownership.assignment import Assignment
from streams.runtime.application import Application
from streams.web.health import json_response


class OwnedPartition(msgspec.Struct, frozen=True):
    """A partition that is assigned to a worker. Without an `owner` it is not taken over yet.

    head, indexed, eventful   the newest commit; the newest up to which all is derived; the newest with an event
    next_offset               the command that is due
    aggregates, weight        in the cache: how many, and about how many bytes of CACHE_BYTES they take
    queued, queued_bytes      commands that wait for a commit
    since, takeover_ms        when this worker took over (UTC), and how long reading the head to repair took
    waits                     the reason why it is not served; empty when it is, or when nothing has failed
    """

    partition: int
    stream: str
    owner: str | None = None
    epoch: int = 0
    head: int = 0
    indexed: int = 0
    eventful: int = 0
    next_offset: int = 0
    aggregates: int = 0
    weight: int = 0
    queued: int = 0
    queued_bytes: int = 0
    serving: bool = False
    since: datetime | None = None
    takeover_ms: float = 0.0
    waits: str = ""


class OwnersAnswer(msgspec.Struct, frozen=True):
    """The answer of `/owners`: every partition that is assigned to the worker."""

    app: str
    owners: list[OwnedPartition]


def owned_partitions(ownership: Assignment, type: str) -> list[OwnedPartition]:
    """The partitions of a type that are assigned to this worker, in their order."""
    return [_owned(ownership, partition, stream_name(type, partition)) for partition in sorted(ownership.assigned)]


def _owned(ownership: Assignment, partition: int, stream: str) -> OwnedPartition:
    owner = ownership.owners.get(partition)
    if owner is None or owner.head is None:
        return OwnedPartition(partition, stream, waits=ownership.waits(partition))
    queued, queued_bytes = owner.queued
    return OwnedPartition(
        partition=partition,
        stream=stream,
        owner=owner.identity,
        epoch=owner.head.epoch,
        head=owner.head.nr,
        indexed=owner.indexed_nr,
        eventful=owner.head.eventful_nr,
        next_offset=owner.next_offset,
        aggregates=len(owner.handler.cache),
        weight=owner.handler.cache.weight,
        queued=queued,
        queued_bytes=queued_bytes,
        serving=ownership.serves(partition),
        since=owner.since,
        takeover_ms=round(owner.takeover_seconds * 1e3, 1),
        waits=ownership.waits(partition),
    )


def add_owners(app: Application, ownerships: Mapping[str, Assignment]) -> None:
    """Serve `/owners` of these aggregate types."""

    @app.page("/owners")
    async def owners(view: Any, request: Any) -> Any:
        partitions = [owned for type, ownership in ownerships.items() for owned in owned_partitions(ownership, type)]
        return json_response(view, OwnersAnswer(app.module, partitions))
