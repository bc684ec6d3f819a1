"""Reads the audit: each action with what came of it, the newest first, or as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from aiokafka import TopicPartition

from schemas.codec import Undecodable
from streams.audit.records import CODEC, ActionEnded, ActionRequested, Outcome
from streams.concurrency.fairness import yield_if_due
from streams.kafka.client_factory import ClientFactory, connected
from streams.moments import in_utc, milliseconds, moment

CHUNK = 1_000
"""Records that are looked through at once."""
READ_SECONDS = 20.0
LOOK_MS = 500
MOST_OPEN = 10_000
"""Actions without an end that a follower remembers."""
UNREADABLE = "?"
"""The action of a record that is none."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An action: when it was requested by the broker's clock, what of it, and what came of it.

    `offset` is its place in the topic. The outcome is null while it is under way, and for one that was broken off: what
    that did is not known.
    """

    offset: int
    time: str
    action: str
    app: str
    who: str
    address: str
    client: str
    parameters: dict[str, str]
    reason: str
    outcome: Outcome | None = None
    ended: str | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which actions: since when; of whom, by what stands in the name; what, likewise in the action and its parameters;
    about which aggregate. Empty: any."""

    since: datetime | None = None
    who: str = ""
    what: str = ""
    type: str = ""
    id: str = ""

    def takes(self, entry: AuditEntry) -> bool:
        """Whether an action is one of them, but for its time."""
        about = " ".join([entry.action, *entry.parameters.values()]).casefold()
        return (
            self.who.casefold() in entry.who.casefold()
            and self.what.casefold() in about
            and self.type in ("", entry.parameters.get("type"))
            and self.id in ("", entry.parameters.get("id"))
        )

    def begins_after(self, record: Any) -> bool:
        """Whether a record is older than these are."""
        return self.since is not None and record.timestamp < milliseconds(self.since)


class AuditLog:
    """The audit on its topic, which has one partition. Raises `KafkaError`, `OSError`, `TimeoutError`."""

    def __init__(self, clients: ClientFactory, topic: str) -> None:
        self._clients = clients
        self._tp = TopicPartition(topic, 0)

    async def newest(self, wanted: Wanted, limit: int, before: int | None = None) -> tuple[list[AuditEntry], bool]:
        """The newest `limit` actions requested before an offset, newest first, and whether there are more."""
        found: list[AuditEntry] = []
        ends: dict[bytes, Any] = {}
        async with self._consumer() as consumer, asyncio.timeout(READ_SECONDS):
            first, high = await self._bounds(consumer)
            while high > first:
                low = max(first, high - CHUNK)
                for record in reversed(await self._read(consumer, low, high)):
                    await yield_if_due()  # a worker has queries to answer meanwhile
                    if wanted.begins_after(record):
                        return found, False
                    entry = _entry(record, ends)
                    if entry is None or not wanted.takes(entry) or (before is not None and entry.offset >= before):
                        continue
                    if len(found) == limit:
                        return found, True
                    found.append(entry)
                high = low
        return found, False

    async def follow(self, wanted: Wanted) -> AsyncIterator[AuditEntry]:
        """Each action when it is requested, and again when it has ended; those of before too where it is said since
        when."""
        open: dict[bytes, AuditEntry] = {}
        async with self._consumer() as consumer:
            consumer.seek(self._tp, await self._start(consumer, wanted.since))
            while True:
                for record in (await consumer.getmany(self._tp, timeout_ms=LOOK_MS)).get(self._tp, ()):
                    event = _event(record)
                    begun = open.pop(record.key, None)
                    if not isinstance(event, ActionEnded):
                        entry = _begun(record, event)
                        if wanted.takes(entry):
                            open[record.key] = entry
                            yield entry
                    elif begun is not None:
                        yield _ended(begun, event, record)
                    if len(open) > MOST_OPEN:
                        del open[next(iter(open))]

    async def _start(self, consumer: Any, since: datetime | None) -> int:
        if since is not None:
            [found] = (await consumer.offsets_for_times({self._tp: milliseconds(since)})).values()
            if found is not None:
                return int(found.offset)
        return (await self._bounds(consumer))[1]

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[Any]:
        async with connected(self._clients.consumer(auto_offset_reset="earliest")) as consumer:
            consumer.assign([self._tp])
            yield consumer

    async def _bounds(self, consumer: Any) -> tuple[int, int]:
        first, end = await consumer.beginning_offsets([self._tp]), await consumer.end_offsets([self._tp])
        return first[self._tp], end[self._tp]

    async def _read(self, consumer: Any, low: int, high: int) -> Sequence[Any]:
        records: list[Any] = []
        consumer.seek(self._tp, low)
        while await consumer.position(self._tp) < high:
            for batch in (await consumer.getmany(self._tp, timeout_ms=LOOK_MS)).values():
                records += [record for record in batch if record.offset < high]
        return records


def _entry(record: Any, ends: dict[bytes, Any]) -> AuditEntry | None:
    """The action that is requested by a record, with its end among those that were read before; None for an end, which
    is put there."""
    event = _event(record)
    if isinstance(event, ActionEnded):
        ends.setdefault(record.key, (event, record))
        return None
    entry = _begun(record, event)
    return _ended(entry, *ends.pop(record.key)) if record.key in ends else entry


def _event(record: Any) -> ActionRequested | ActionEnded | None:
    """None for a record that is none of the audit's, or of a version that this code must not read."""
    try:
        event = CODEC.decode_one(record.value or b"")
    except Undecodable:
        return None
    return event if isinstance(event, ActionRequested | ActionEnded) else None


def _begun(record: Any, event: ActionRequested | None) -> AuditEntry:
    if event is None:
        event = ActionRequested(action=UNREADABLE, app="", who="", address="", client="", parameters={})
    return AuditEntry(
        offset=record.offset,
        time=in_utc(moment(record.timestamp)),
        action=event.action,
        app=event.app,
        who=event.who,
        address=event.address,
        client=event.client,
        parameters=dict(event.parameters),
        reason=event.reason,
    )


def _ended(entry: AuditEntry, event: ActionEnded, record: Any) -> AuditEntry:
    return msgspec.structs.replace(
        entry, outcome=event.outcome, ended=in_utc(moment(record.timestamp)), detail=event.detail
    )
