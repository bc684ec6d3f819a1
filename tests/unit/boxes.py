"""Boxes: a domain, its log and its events topic in memory, for tests of what keeps tables of one partition.

`Bomb` is an event that `contents` has no rule for; `Labelled` and `Swapped` are stored events of older code.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any, NamedTuple

from aggregates.decider import Decider
from projections.applying.event_reader import Event as Read
from projections.applying.event_reader import EventReader
from projections.applying.event_source import PublishedStream
from projections.applying.fold import TableFold, evolved
from projections.applying.partition_processor import PartitionProcessor, PartitionTable, TableSpec
from projections.projection import Projection, PublishedEvent, Row
from projections.publishing.publication import event_headers, events_in
from schemas.codec import Codec
from schemas.formats import AVRO
from schemas.upcasting import Fields, Upcasted, Upcaster, dropped
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, RecordedEvent, SliceHead, Unavailable
from streams.slices import slice_of
from tests.flat_rows import GONE
from tests.flat_rows import stored as stored_row
from tests.layouts import logs_of
from tests.memory_rows import MemoryRows
from tests.unit.schemas.test_upcasting import schema

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STREAM, LOG = "box-0", "box@0"


@dataclass(frozen=True)
class Command: ...


@dataclass(frozen=True)
class Put:
    what: str


@dataclass(frozen=True)
class Emptied: ...


@dataclass(frozen=True)
class Bomb: ...


Event = Put | Emptied | Bomb


def decide(command: Command, state: tuple[str, ...]) -> list[Event]:
    return []


def evolve(state: tuple[str, ...], event: Event) -> tuple[str, ...]:
    return (*state, event.what) if isinstance(event, Put) else ()


box = Decider("box", (), decide, evolve)
SWAPPED = schema("Swapped", 1, ("what", "string"))
LABELLED = schema("Labelled", 1, ("text", "string"))
PUT = schema("Put", 1, ("what", "string"))
EMPTIED = schema("Emptied", 1)
BOMB = schema("Bomb", 1)


def split(fields: Fields) -> Iterable[Upcasted]:
    """Swapping was emptying and putting."""
    return [Upcasted("Emptied", 1, {}), Upcasted("Put", 1, fields)]


CODEC = Codec(
    [SWAPPED, LABELLED, PUT, EMPTIED, BOMB],
    {"Put": Put, "Emptied": Emptied, "Bomb": Bomb},
    [Upcaster("Swapped", 1, split), Upcaster("Labelled", 1, dropped)],
)
Stored = tuple[str, bytes]


def put(what: str) -> Stored:
    return "Put", CODEC.encode(Put(what))


def labelled(text: str = "fragile") -> Stored:
    """Comes to nothing today."""
    return "Labelled", AVRO.writer(LABELLED)({"text": text})


def swapped(what: str) -> Stored:
    """Stands for two events today."""
    return "Swapped", AVRO.writer(SWAPPED)({"what": what})


EMPTY = "Emptied", CODEC.encode(Emptied())
BANG = "Bomb", CODEC.encode(Bomb())


# -- projections ---------------------------------------------------------------------------------------


def contents(row: Row | None, key: str, published: PublishedEvent) -> Row | None:
    """A row for as long as something is in the box."""
    match published.event:
        case Emptied():
            return None
        case Put(what):
            return {"in": [*(row["in"] if row else []), what]}
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


def counts(row: Row | None, key: str, published: PublishedEvent) -> Row:
    return {"type": key, "count": (row["count"] if row else 0) + 1}


boxes = Projection("boxes", 1, "box", contents)
by_type = Projection("by-type", 1, "box", counts, lambda published: (published.type,), local=True)


def folded(projection: Projection, log: Iterable[Commit], slices: int = 1) -> dict[str, Row]:
    """The rows that a projection makes of slice 0 of a log, event by event; of one that raises, nothing after that."""
    rows: dict[str, Row] = {}
    waits: set[str] = set()
    for commit in log:
        for index, stored in events_in(commit, 0, slices):
            place = (stored.aggregate_id, stored.sequence, "", STREAM, commit.nr, index)
            parts = [PublishedEvent(event, type(event).__name__, *place) for event in CODEC.decode(stored.data)]
            keys = [key for part in parts for key in projection.keys(part)] if projection.local else [place[0]]
            for key in dict.fromkeys(keys):
                its = [part for part in parts if not projection.local or key in projection.keys(part)]
                if key not in waits:
                    try:
                        former = rows.get(key)
                        row = evolved(projection, stored_row(former).row if former else None, key, its)
                    except TypeError:
                        waits.add(key)
                        continue
                    rows[key] = {**({GONE: True} if row is None else row), "position": f"{STREAM}:{commit.nr}:{index}"}
                    if not projection.local:
                        rows[key]["sequence"] = stored.sequence
    return rows


# -- Kafka and the journal -----------------------------------------------------------------------------


class Record(NamedTuple):
    """A record of the events topic."""

    offset: int
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Topic:
    """One partition of an events topic, and all readings of it. What is before `first` is removed."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.first = 0
        self.marks = 0
        """Of transactions, behind the last record; nobody gets them."""
        self.is_slow = False
        """Whether the broker has not brought what is behind the last record."""
        self.readings = 0
        """That are open."""
        self.read: list[int] = []
        """The offsets at which somebody has read."""
        self.grown = asyncio.Condition()

    @property
    def end(self) -> int:
        """The offset of the next record."""
        return (self.records[-1].offset + 1 if self.records else self.first) + self.marks

    def append(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        self.records.append(Record(self.end, key, value, headers))

    def has(self, offset: int) -> bool:
        """Whether there is a record at an offset, or behind it."""
        return bool(self.records) and offset <= self.records[-1].offset

    def remove_before(self, offset: int) -> None:
        """Retention."""
        self.first = offset
        self.records = [record for record in self.records if record.offset >= offset]

    def lose(self, offset: int) -> None:
        """A record is missing, with the others as they are."""
        self.records = [record for record in self.records if record.offset != offset]

    async def share(self, topic: str, partitions: Collection[int]) -> None:
        pass

    async def open(self, topic: str, partition: int) -> Reading:
        self.readings += 1
        return Reading(self)


class Reading:
    """One who reads, as Kafka's client does: from a place that is not there any more it goes to the beginning."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._at = topic.first

    async def seek(self, offset: int) -> None:
        self._at = offset

    async def read(self, most: int) -> Sequence[Record]:
        topic = self._topic
        async with topic.grown:
            await topic.grown.wait_for(lambda: topic.end != self._at and (not topic.marks or topic.has(self._at)))
            if not topic.first <= self._at <= topic.end:
                self._at = topic.first
                await topic.grown.wait_for(lambda: topic.end > self._at)
            topic.read.append(self._at)
            found = [record for record in topic.records if record.offset >= self._at][:most]
            self._at = found[-1].offset + 1
            return found

    async def first(self) -> int:
        return self._topic.first

    async def end(self) -> int:
        return self._topic.end

    async def passed(self) -> int:
        return self._at if self._topic.is_slow or self._topic.has(self._at) else self._topic.end

    async def at(self, offset: int) -> Record | None:
        return next((record for record in self._topic.records if record.offset >= offset), None)

    async def close(self) -> None:
        self._topic.readings -= 1


class Moody(MemoryJournal):
    """The journal in memory, which may be down, or say only so many commits at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.read: list[int] = []
        """The numbers of the commits that were read."""
        self.heads = 0
        """How often the head was asked for."""
        self.says: list[int] = []
        """How many commits the next reads give, at most."""

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        if self.down:
            raise Unavailable("the journal in memory is down")
        found = await super().commits(log, after, min(limit, self.says.pop(0)) if self.says else limit)
        self.read += [commit.nr for commit in found]
        return found

    async def head(self, log: str, after: int = 0) -> Commit | None:
        self.heads += 1
        return await super().head(log, after)


@dataclass
class Letters:
    """Keeps the dead letters: table, key and position of each."""

    kept: list[tuple[str, str, str]] = field(default_factory=list)
    down = False

    async def keep(self, partition: int, table: str, waiting: Sequence[tuple[Read, str, str]]) -> None:
        if self.down:
            raise ConnectionError("no dead letters")
        self.kept += [(table, key, event.origin.position) for event, key, _ in waiting]


class Boxes:
    """Slice 0 of a log: the topic, a store of rows, and who keeps them up to date. Events of the log's other slices, if
    it has any, are on no topic."""

    def __init__(self, slices: int = 1) -> None:
        self.slices = slices
        self.journal = Moody()
        self.log: list[Commit] = self.journal._store.log[LOG]
        self.topic = Topic()
        self.rows = MemoryRows()
        self.letters = Letters()
        self.logs = logs_of(self.journal, "box", slices)
        self.reader = EventReader(CODEC, self.journal, self.logs, "/boxes")
        self.moved = asyncio.Condition()
        self.names_previous = True
        """As the tailer does, but for the first event after it has begun with an empty topic."""
        self._sequences: defaultdict[str, int] = defaultdict(int)
        self._partitions: list[PartitionProcessor] = []

    def id(self, slice: int = 0, number: int = 0) -> str:
        """The box of that number in a slice."""
        ids = (id for n in count() if slice_of(id := str(n), self.slices) == slice)
        return next(islice(ids, number, None))

    async def write(self, *events: tuple[str, Stored], publish: bool = True) -> Commit:
        """Commit events of boxes, all in one, and publish them."""
        recorded = []
        for id, (type, data) in events:
            self._sequences[id] += 1
            recorded.append(RecordedEvent(id, self._sequences[id], type, data, f"c{len(self.log)}"))
        nr = len(self.log) + 1
        heads = dict(self.log[-1].slices) if self.log else dict.fromkeys(range(self.slices), SliceHead())
        heads |= {slice_of(event.aggregate_id, self.slices): SliceHead(nr, nr) for event in recorded}
        commit = Commit(LOG, nr, 1, "o", "t", heads, nr - 1, NOW, tuple(recorded))
        await self.journal.append(commit)
        await self.journal.derive([commit])
        if publish:
            await self.publish(commit)
        return commit

    async def write_beside(self, commits: int) -> None:
        """So many commits with events of another slice."""
        for number in range(commits):
            await self.write((self.id(1), put(str(number))), publish=False)

    async def publish(self, commit: Commit) -> None:
        """As the tailer does, and as often as one likes."""
        newest = None
        if self.names_previous:
            newest = "{}:{}:{}".format(STREAM, *max(self.places(commit.nr), default=(0, 0)))
        events = events_in(commit, 0, self.slices)
        for _, headers, event in event_headers(
            STREAM, commit.nr, NOW, events, source=b"/boxes", codec=CODEC, newest=newest
        ):
            self.topic.append(event.aggregate_id.encode(), event.data, headers)
        async with self.topic.grown:
            self.topic.grown.notify_all()

    async def published(self, first: int = 0, end: int | None = None) -> list[Read]:
        """The events that stand on the topic at these offsets."""
        return await self.reader.read(self.topic.records[first:end], STREAM)

    def table(self, projection: Projection = boxes, name: str = "", rows: MemoryRows | None = None) -> TableFold:
        """A table from its beginning."""
        return TableFold(name or f"{projection.name}-1", projection, rows or self.rows, 0)

    def wanted(self, projection: Projection = boxes, name: str = "", rows: Any = None, **more: Any) -> TableSpec:
        return TableSpec(name or f"{projection.name}-1", projection, rows or self.rows, **more)

    def partition(self, at_once: int = 4) -> PartitionProcessor:
        """Who keeps tables, not opened yet."""
        partition = PartitionProcessor(
            self.published_stream,
            dead_letters=self.letters,
            at_once=asyncio.Semaphore(at_once),
            moved=self._moved,
            has_nothing=self._has_nothing,
        )
        self._partitions.append(partition)
        return partition

    @property
    def published_stream(self) -> PublishedStream:
        since = asyncio.get_running_loop().time()
        return PublishedStream(
            name=STREAM, topic="box-events", partition=0, since=since, topics=self.topic, reader=self.reader
        )

    async def _has_nothing(self, table: PartitionTable) -> None:
        pass

    async def _moved(self) -> None:
        async with self.moved:
            self.moved.notify_all()

    async def close(self) -> None:
        for partition in self._partitions:
            await partition.close()

    def places(self, before: int) -> list[tuple[int, int]]:
        """Those of the events of the slice, in the commits before one."""
        return [
            (commit.nr, index) for commit in self.log[: before - 1] for index, _ in events_in(commit, 0, self.slices)
        ]

    @property
    def head(self) -> tuple[int, int]:
        """The place of the last event of the slice."""
        return self.places(len(self.log) + 1)[-1]

    def expected(self, projection: Projection = boxes) -> dict[str, Row]:
        """The rows that the whole log makes of the slice."""
        return folded(projection, self.log, self.slices)
