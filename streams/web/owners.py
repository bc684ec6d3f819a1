"""`/owners` of a command app: the logs that this worker owns, and how far each is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from streams.access.principal import Role
from streams.journal.port import log_name
from streams.journal.slice_log import KnownLayout
from streams.ownership.assignment import Assignment
from streams.ownership.owned_log import OwnedLog
from streams.runtime.application import Application
from streams.web.health import json_response
from streams.web.operation import describe


class LogStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A log. Without an `owner` it is not taken over yet, or nobody has it.

    seat                      by which it is placed: a partition of the topic of logs
    slices                    the partitions of commands that it has
    head, indexed, eventful   the newest commit; the newest up to which all is derived; the newest with an event
    next_offsets              by slice the command that is due
    aggregates, weight        in the cache: how many, and about how many bytes of CACHE_BYTES they take
    queued, queued_bytes      commands that wait for a commit
    since, takeover_ms        when this worker took over (UTC), and how long reading the head to repair took
    former, former_at         who had it before, and the time of his last commit (UTC); empty where nobody had
    waits                     the reason why it is not served; empty when it is, or when nothing has failed
    held                      by slice the reason why its commands wait, although the log is served
    """

    log: str
    seat: int
    slices: tuple[int, ...]
    owner: str | None = None
    epoch: int = 0
    head: int = 0
    indexed: int = 0
    eventful: int = 0
    next_offsets: Mapping[int, int] = {}
    aggregates: int = 0
    weight: int = 0
    queued: int = 0
    queued_bytes: int = 0
    serving: bool = False
    since: datetime | None = None
    takeover_ms: float = 0.0
    former: str = ""
    former_at: datetime | None = None
    waits: str = ""
    held: Mapping[int, str] = {}


class OwnersAnswer(msgspec.Struct, frozen=True):
    """The answer of `/owners`: the logs that are placed in the worker, and the names of all that the app has."""

    app: str
    owners: list[LogStatus]
    logs: list[LogStatus]
    """All logs of the app's types, as far as the layout says what they are: without who owns them."""


def log_status(log: OwnedLog) -> LogStatus:
    """A log that is placed in this worker."""
    owner, span, waits = log.owner, log.span, log.waiting.reason
    if owner is None or owner.head is None:
        return LogStatus(log=log.name, seat=span.seat, slices=span.slices, waits=waits)
    head, cache = owner.head, owner.handler.cache
    return LogStatus(
        log=log.name,
        seat=span.seat,
        slices=span.slices,
        owner=owner.identity,
        epoch=head.epoch,
        head=head.nr,
        indexed=owner.derivation.derived_nr,
        eventful=head.eventful_nr,
        next_offsets={slice: intake.next_offset for slice, intake in owner.intakes.items()},
        aggregates=len(cache),
        weight=cache.weight,
        queued=len(owner.queue),
        queued_bytes=owner.queue.bytes,
        serving=log.serves,
        since=owner.since,
        takeover_ms=round(owner.takeover_seconds * 1e3, 1),
        former=owner.former,
        former_at=owner.former_at,
        waits=waits,
        held=owner.held.reasons,
    )


def add_owners(app: Application, types: Mapping[str, tuple[Assignment, KnownLayout]]) -> None:
    """Serve `/owners` of these aggregate types."""

    @app.page("/owners")
    @describe("operations", "Which logs this worker owns", OwnersAnswer, role=Role.AUDITOR)
    async def owners(view: Any, request: Any) -> Any:
        placed = [log for ownership, _ in types.values() for _, log in sorted(ownership.logs.items())]
        every = [
            LogStatus(log=log_name(type, span.number), seat=span.seat, slices=span.slices)
            for type, (_, known) in types.items()
            for span in known.layout.open
        ]
        return json_response(view, OwnersAnswer(app.module, [log_status(log) for log in placed], every))
