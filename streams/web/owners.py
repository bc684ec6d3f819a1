"""`/owners` of a command app: what this worker owns, and how far each partition is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from streams.ownership.assignment import Assignment
from streams.ownership.owned_log import OwnedLog
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


def owned_partition(log: OwnedLog) -> OwnedPartition:
    """A partition that is assigned to this worker."""
    owner, stream, waits = log.owner, log.waiting.stream, log.waiting.reason
    if owner is None or owner.head is None:
        return OwnedPartition(partition=log.partition, stream=stream, waits=waits)
    head, cache = owner.head, owner.handler.cache
    return OwnedPartition(
        partition=log.partition,
        stream=stream,
        owner=owner.identity,
        epoch=head.epoch,
        head=head.nr,
        indexed=owner.derivation.derived_nr,
        eventful=head.eventful_nr,
        next_offset=owner.intake.next_offset,
        aggregates=len(cache),
        weight=cache.weight,
        queued=len(owner.queue),
        queued_bytes=owner.queue.bytes,
        serving=log.serves,
        since=owner.since,
        takeover_ms=round(owner.takeover_seconds * 1e3, 1),
        waits=waits,
    )


def add_owners(app: Application, ownerships: Iterable[Assignment]) -> None:
    """Serve `/owners` of these aggregate types."""

    @app.page("/owners")
    async def owners(view: Any, request: Any) -> Any:
        logs = [log for ownership in ownerships for _, log in sorted(ownership.logs.items())]
        return json_response(view, OwnersAnswer(app.module, [owned_partition(log) for log in logs]))
