"""The read side without servers: topics, logs and rows in memory, each as faulty as a test wants it."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from aggregates.shop.order import LineAdded, OrderOpened, order
from projections.events import EventReader
from projections.partition import Partition, Wanted
from projections.projection import Projection, PublishedEvent, Row
from projections.rows import Changes, Place, Quarantined, StoreDown
from projections.tailer import event_headers
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.broker import Record
from streams.journal import Commit, RecordedEvent
from streams.journal_memory import MemoryJournal

EVENTS = "order-events"
STREAM = "order-0"
MOMENT = datetime(2010, 12, 1, tzinfo=UTC)
CODEC = Codec([s for s in Schemas.load("shop", "order") if s.name not in order.commands], order.events)


class Stored(NamedTuple):
    """A record of a topic."""

    offset: int
    key: Any
    value: Any
    headers: Sequence[tuple[str, bytes]]


class Topics:
    """Kafka, as the control topic and the lanes see it: they publish, and read from an offset on."""

    def __init__(self) -> None:
        self.records: defaultdict[tuple[str, int], list[Stored]] = defaultdict(list)
        self.removed: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.more = asyncio.Condition()
        self.read_up_to: int | None = None
        """Readers get nothing from this offset on."""

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        of = self.records[topic, partition]
        for key, value, headers in records:
            of.append(Stored(len(of), key, value, headers))
        async with self.more:
            self.more.notify_all()
        return len(of) - 1

    async def let_read(self, up_to: int | None = None) -> None:
        """Readers get what comes before this offset, or all."""
        async with self.more:
            self.read_up_to = up_to
            self.more.notify_all()

    async def open(self, topic: str, partition: int) -> Reading:
        return Reading(self, (topic, partition))


class Reading:
    """One reader of one partition."""

    def __init__(self, topics: Topics, of: tuple[str, int]) -> None:
        self._topics = topics
        self._of = of
        self._next = topics.removed[of]

    async def seek(self, offset: int) -> None:
        self._next = offset

    async def read(self, most: int) -> Sequence[Stored]:
        def found() -> list[Stored]:
            records = self._topics.records[self._of]
            return records[self._next : self._topics.read_up_to][:most]

        async with self._topics.more:
            await self._topics.more.wait_for(lambda: bool(found()))
        self._next += len(records := found())
        return records

    async def first(self) -> int:
        return self._topics.removed[self._of]

    async def end(self) -> int:
        return len(self._topics.records[self._of])

    async def at(self, offset: int) -> Stored | None:
        records = self._topics.records[self._of]
        return records[offset] if offset < len(records) else None

    async def close(self) -> None: ...


class StoredRows:
    """A store of rows. While it is `down` it raises; `saving` is called before each save."""

    def __init__(self) -> None:
        self.down = False
        self.saving: Callable[[], Awaitable[None]] | None = None
        self.kept_places: dict[tuple[int, str], Place] = {}
        self.kept_rows: defaultdict[tuple[int, str], dict[str, Row]] = defaultdict(dict)
        self.kept_waiting: defaultdict[tuple[int, str], dict[str, Quarantined]] = defaultdict(dict)

    def _look(self) -> None:
        if self.down:
            raise StoreDown("the store of rows is down")

    async def places(self, partition: int) -> Mapping[str, Place]:
        self._look()
        return {table: place for (of, table), place in self.kept_places.items() if of == partition}

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, Row]:
        self._look()
        rows = self.kept_rows[partition, table]
        return {key: rows[key] for key in keys if key in rows}

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        if self.saving is not None:
            await self.saving()
        self._look()
        for table, change in changes.items():
            self.kept_rows[partition, table].update(change.rows)
            self.kept_waiting[partition, table].update(change.quarantined)
            self.kept_places[partition, table] = change.place

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        self._look()
        return {key: it for key, it in self.kept_waiting[partition, table].items() if it.events}

    async def drop(self, partition: int, table: str) -> None:
        self._look()
        for kept in (self.kept_places, self.kept_rows, self.kept_waiting):
            kept.pop((partition, table), None)  # type: ignore[attr-defined]

    def lines(self, table: str, partition: int = 0) -> dict[str, list[str]]:
        """The stock codes of each order's lines."""
        return {key: row["skus"] for key, row in self.kept_rows[partition, table].items() if "skus" in row}


@dataclass
class Log:
    """The journal of one stream, and the topic that its events are published to."""

    topics: Topics = field(default_factory=Topics)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    _sequences: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _nr: int = 0

    def __post_init__(self) -> None:
        self.reader = EventReader(CODEC, self.journal)

    async def add(self, key: str, *skus: str, published: bool = True) -> str:
        """One commit: these lines of an order, which is opened if it is not. The position of its last event."""
        self._nr += 1
        values: list[Any] = [LineAdded(sku, "", 1, Decimal("0.5")) for sku in skus]
        if not self._sequences[key]:
            values.insert(0, OrderOpened("17850", "sale", "France", MOMENT))
        events = []
        for value in values:
            self._sequences[key] += 1
            events.append(RecordedEvent(key, self._sequences[key], type(value).__name__, CODEC.encode(value), "c"))
        commit = Commit(STREAM, self._nr, 1, "me", "t", self._nr, self._nr, self._nr, MOMENT, tuple(events))
        await self.journal.append(commit)
        await self.journal.index([commit])
        if published:
            records: list[Record] = [
                (event.aggregate_id.encode(), event.data, headers)
                for _, headers, event in event_headers(commit, b"/orders", CODEC)
            ]
            await self.topics.publish(EVENTS, 0, records)
        return f"{STREAM}:{self._nr}:{len(events) - 1}"

    def forget(self, offset: int) -> None:
        """The topic has only what stands from this offset on."""
        self.topics.removed[EVENTS, 0] = offset


@dataclass
class Bug:
    """What makes the projection raise: lines of these stock codes."""

    skus: set[str] = field(default_factory=set)

    def check(self, published: PublishedEvent) -> None:
        if isinstance(published.event, LineAdded) and published.event.sku in self.skus:
            raise ValueError(f"cannot take {published.event.sku}")

    def projection(self, name: str = "orders", version: int = 1) -> Projection:
        """One row per order, with its stock codes."""

        def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
            self.check(published)
            skus = row["skus"] if row is not None else []
            return {"skus": [*skus, published.event.sku] if isinstance(published.event, LineAdded) else skus}

        return Projection(name, version, "order", evolve)

    def by_sku(self) -> Projection:
        """One row per stock code and partition, with the orders that have it."""

        def keys(published: PublishedEvent) -> list[str]:
            return [published.event.sku] if isinstance(published.event, LineAdded) else []

        def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
            self.check(published)
            return {"orders": [*(row["orders"] if row is not None else []), published.aggregate_id]}

        return Projection("by-sku", 1, "order", evolve, keys, local=True)


class DeadLetters:
    """Those that were kept, by key."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, str]] = []

    async def keep(self, partition: int, table: str, waiting: Sequence[Any]) -> None:
        self.kept += [(table, key, event.origin.position) for event, key, _ in waiting]


def partition_of(log: Log, slots: int = 4) -> tuple[Partition, DeadLetters]:
    """Partition 0, not open yet."""
    letters = DeadLetters()

    async def moved() -> None: ...

    return Partition(
        STREAM, EVENTS, 0, log.topics, log.reader, letters, asyncio.Semaphore(slots), moved  # type: ignore[arg-type]
    ), letters  # fmt: skip


def wanted(table: str, projection: Projection, rows: StoredRows, **more: Any) -> Wanted:
    return Wanted(table, projection, rows, **more)


async def soon(probe: Callable[[], Any], what: str = "") -> None:
    """Return when it is true; fails after a few seconds."""
    try:
        async with asyncio.timeout(5):
            while not probe():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within 5 s: {what or json.dumps(str(probe))}") from None
