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
    """One partition that is assigned to a worker. Without an `owner` it could not be taken over yet.

    head, indexed, eventful   the newest commit; the newest up to which all is derived; the newest with an event
    next_offset               the command that is due
    aggregates, weight        in the cache: how many, and about how many bytes of CACHE_BYTES they take
    queued, queued_bytes      commands that wait for a commit
    since, takeover_ms        when this worker took over (UTC), and how long reading the head to repair took
    waits                     why it is not served; empty where it is, and where nothing has failed
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
    """The answer of `/owners`: every partition that is assigned to the worker that was asked."""

    app: str
    owners: list[OwnedPartition]


def owned(ownership: Assignment, type: str) -> list[OwnedPartition]:
    """What this worker has, by partition."""
    return [_owned(ownership, partition, stream_name(type, partition)) for partition in sorted(ownership.assigned)]


def _owned(ownership: Assignment, partition: int, stream: str) -> OwnedPartition:
    owner = ownership.owner(partition)
    if owner is None or owner.head is None:
        return OwnedPartition(partition=partition, stream=stream, waits=ownership.waits(partition))
    head, cache = owner.head, owner.handler.cache
    return OwnedPartition(
        partition=partition,
        stream=stream,
        owner=owner.identity,
        epoch=head.epoch,
        head=head.nr,
        indexed=owner.derivation.indexed_nr,
        eventful=head.eventful_nr,
        next_offset=owner.intake.next_offset,
        aggregates=len(cache),
        weight=cache.weight,
        queued=len(owner.queue),
        queued_bytes=owner.queue.bytes,
        serving=ownership.serves(partition),
        since=owner.since,
        takeover_ms=round(owner.takeover_seconds * 1e3, 1),
        waits=ownership.waits(partition),
    )


def add_owners(app: Application, ownerships: Mapping[str, Assignment]) -> None:
    """Serve `/owners`, of these types."""

    @app.page("/owners")
    async def owners(view: Any, request: Any) -> Any:
        found = [one for type, ownership in ownerships.items() for one in owned(ownership, type)]
        return json_response(view, OwnersAnswer(app.module, found))
