"""Loading and applying see what stored events stand for today: each once, all at their place, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from aggregates.decider import Decider
from projections.applier import Applier
from projections.projection import Projection, PublishedEvent, Row
from projections.tables import GONE
from projections.tailer import COMMIT_END
from schemas.codec import Codec
from schemas.formats import AVRO
from schemas.registry import Schema
from schemas.upcasting import Fields, Upcasted, Upcaster, dropped
from streams.handler import load_aggregate
from streams.history import entries
from streams.journal import Commit, RecordedEvent, Snapshot
from streams.journal_memory import MemoryJournal
from streams.reading import Held, decode_event
from tests.unit.test_applier_positions import Rows
from tests.unit.test_upcasting import schema

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@dataclass(frozen=True)
class Command: ...


@dataclass(frozen=True)
class Put:
    what: str


@dataclass(frozen=True)
class Emptied: ...


Event = Put | Emptied


def decide(command: Command, state: tuple[str, ...]) -> list[Event]:
    return []


def evolve(state: tuple[str, ...], event: Event) -> tuple[str, ...]:
    return (*state, event.what) if isinstance(event, Put) else ()


box = Decider("box", (), decide, evolve)
SWAPPED = schema("Swapped", 1, ("what", "string"))
LABELLED = schema("Labelled", 1, ("text", "string"))
PUT = schema("Put", 1, ("what", "string"))
EMPTIED = schema("Emptied", 1)


def split(fields: Fields) -> Iterable[Upcasted]:
    """Swapping was emptying and putting."""
    return [Upcasted("Emptied", 1, {}), Upcasted("Put", 1, fields)]


CODEC = Codec(
    [SWAPPED, LABELLED, PUT, EMPTIED],
    {"Put": Put, "Emptied": Emptied},
    [Upcaster("Swapped", 1, split), Upcaster("Labelled", 1, dropped)],
)
STORED = [
    ("Labelled", AVRO.writer(LABELLED)({"text": "fragile"})),
    ("Put", CODEC.encode(Put("a"))),
    ("Swapped", AVRO.writer(SWAPPED)({"what": "b"})),
    ("Labelled", AVRO.writer(LABELLED)({"text": "this side up"})),
    ("Put", CODEC.encode(Put("c"))),
]
"""What the old code has written, which stands for: put a, emptied, put b, put c."""


async def a_journal(stored: Iterable[tuple[str, bytes]] = STORED) -> MemoryJournal:
    """Box `1`, with a commit for each stored event."""
    journal = MemoryJournal()
    await journal.create()
    commits = [
        Commit("box-0", nr, 1, "o", "t", nr, 0, nr, NOW, (RecordedEvent("1", nr, type, data, f"c{nr}"),))
        for nr, (type, data) in enumerate(stored, 1)
    ]
    for commit in commits:
        await journal.append(commit)
    await journal.index(commits)
    return journal


# -- loading -----------------------------------------------------------------------------------------


async def test_load() -> None:
    """The state is that of what the events stand for; sequence and remembered ids are those of the stored ones."""
    aggregate = await load_aggregate(await a_journal(), box, CODEC, "1", 10)
    assert (("b", "c"), 5) == (aggregate.state, aggregate.sequence)
    assert [("Labelled",), ("Put",), ("Swapped",), ("Labelled",), ("Put",)] == [
        outcome.events for outcome in aggregate.outcomes.values()
    ]


async def test_snapshot_of_older_code() -> None:
    """A snapshot of another state version is left alone: the events say all."""
    journal = await a_journal()
    await journal.save_snapshots("box", [Snapshot("1", 4, 4, box.state_version - 1, b'{"state":["x"],"outcomes":{}}')])
    assert ("b", "c") == (await load_aggregate(journal, box, CODEC, "1", 10)).state


async def test_history_tells_both() -> None:
    """History has a stored event as it was written, and where that is not the newest form what it reads as."""
    stored = await (await a_journal()).events("box", "1")
    shown = [(entry["type"], entry["schema"], entry.get("reads_as")) for entry in entries(CODEC, "box-0", stored)]
    swapped = [{"type": "Emptied", "data": {}}, {"type": "Put", "data": {"what": "b"}}]
    assert [
        ("Labelled", "test.Labelled:1", []),
        ("Put", "test.Put:1", None),
        ("Swapped", "test.Swapped:1", swapped),
        ("Labelled", "test.Labelled:1", []),
        ("Put", "test.Put:1", None),
    ] == shown


PUT_2 = schema("Put", 2, ("what", "string"), ("where", "string", ""))
PUT_3 = schema("Put", 3, ("what", "string"), ("where", "string", ""), ("z", "int", 0), compatibility="BACKWARD")


async def newer_journal(*schemas: Schema) -> MemoryJournal:
    """A journal with a `Put` of the last of these schemas, all of which its writer has left there."""
    journal = await a_journal([("Put", AVRO.writer(schemas[-1])({"what": "n"}))])
    await journal.save_schemas({schema.fingerprint: schema.json for schema in schemas})
    return journal


async def test_a_newer_event_is_read() -> None:
    """An old worker takes the schema of a newer event from the journal, and reads what it knows of it."""
    codec = Codec([PUT, EMPTIED], {"Put": Put, "Emptied": Emptied})
    assert ("n",) == (await load_aggregate(await newer_journal(PUT_2), box, codec, "1", 10)).state


@pytest.mark.parametrize("newer", [(PUT_2, PUT_3), (schema("Sealed", 1),)], ids=["means something else", "new type"])
async def test_a_newer_event_holds_an_old_worker(newer: tuple[Schema, ...]) -> None:
    """What an old worker must not or cannot read holds it, each time that it tries, and it says what to do."""
    journal, codec = await newer_journal(*newer), Codec([PUT, EMPTIED], {"Put": Put, "Emptied": Emptied})
    for _ in range(2):
        with pytest.raises(Held, match="deploy the version that knows it"):
            await load_aggregate(journal, box, codec, "1", 10)


async def test_bytes_of_nobody_hold_too() -> None:
    """Bytes in no format at all are not for this version to skip."""
    with pytest.raises(Held, match="not in Avro single-object encoding or JSON"):
        await decode_event(CODEC, await a_journal([]), b"\x00?")


# -- applying ------------------------------------------------------------------------------------------


def contents(row: Row | None, key: str, published: PublishedEvent) -> Row | None:
    """A row for as long as something is in the box."""
    if published.type == "Emptied":
        return None
    return {"in": [*(row["in"] if row else []), published.event.what]}


def counts(row: Row | None, key: str, published: PublishedEvent) -> Row:
    return {"type": key, "count": (row["count"] if row else 0) + 1}


boxes = Projection("boxes", 1, "box", contents)
by_type = Projection("by-type", 1, "box", counts, lambda published: (published.type,), local=True)


def record(nr: int, sequence: int, type: str, value: bytes) -> Any:
    """A record of the events topic."""
    headers = {"ce_position": f"box-0:{nr}:0", "ce_type": type, "ce_sequence": f"{sequence}", "ce_time": ""}
    encoded = [*((name, text.encode()) for name, text in headers.items()), COMMIT_END]
    return SimpleNamespace(message=SimpleNamespace(partition=0, offset=nr - 1, key=b"1", value=value, headers=encoded))


RECORDS = [record(nr, nr, type, data) for nr, (type, data) in enumerate(STORED, 1)]


class Tables:
    """An applier of both projections, and its tables."""

    def __init__(self, codec: Codec = CODEC, journal: Any = None) -> None:
        self.boxes, self.by_type, self.positions = Rows(), Rows(), Rows()
        tables = {"boxes": self.boxes, "by-type": self.by_type}
        nothing: Any = None
        args: Any = ("box", "box-events", [boxes, by_type], tables, self.positions, nothing, codec, journal)
        self.applier = Applier(*args, let_go=lambda event: None, rejoin=lambda: None)

    def shown(self) -> tuple[Any, dict[str, int]]:
        """The row of the box, and the counts."""
        row = json.loads(self.boxes.rows[b"1"] or b"null")
        counted = {key.decode(): json.loads(value or b"null")["count"] for key, value in self.by_type.rows.items()}
        return row, counted


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_apply(size: int) -> None:
    """However events are cut into batches: a split one is applied whole, and one that is nothing is counted."""
    tables = Tables()
    for start in range(0, len(RECORDS), size):
        await tables.applier.apply(RECORDS[start : start + size])
    row, counted = tables.shown()
    assert {"in": ["b", "c"], "position": "box-0:5:0", "sequence": 5} == row
    assert {"Put": 3, "Emptied": 1} == counted


@pytest.mark.parametrize("seen", range(1, 6))
async def test_apply_again(seen: int) -> None:
    """Events that come again change nothing, where they were split and where they removed a row too."""
    tables = Tables()
    await tables.applier.apply(RECORDS[:seen])
    for late in RECORDS[:seen]:
        await tables.applier.apply([late])
    await tables.applier.apply(RECORDS)
    assert ({"in": ["b", "c"], "position": "box-0:5:0", "sequence": 5}, {"Put": 3, "Emptied": 1}) == tables.shown()


async def test_a_removed_row_leaves_its_place() -> None:
    """After its last event a removed row has its position only, and the next event goes on from there."""
    tables = Tables()
    await tables.applier.apply(RECORDS[:2])
    await tables.applier.apply([record(3, 3, "Emptied", CODEC.encode(Emptied()))])
    assert {GONE: True, "position": "box-0:3:0", "sequence": 3} == tables.shown()[0]
    await tables.applier.apply(RECORDS[:2])
    assert GONE in tables.shown()[0]
    await tables.applier.apply([record(4, 4, "Put", CODEC.encode(Put("d")))])
    assert {"in": ["d"], "position": "box-0:4:0", "sequence": 4} == tables.shown()[0]


async def test_only_events_that_are_nothing() -> None:
    """An aggregate of which no event is left has no row, and its sequence is known all the same."""
    tables = Tables()
    await tables.applier.apply(RECORDS[:1])
    assert {GONE: True, "position": "box-0:1:0", "sequence": 1} == tables.shown()[0]
    assert {} == tables.by_type.rows


async def test_a_newer_event_holds_the_tables_too() -> None:
    """Old code applies nothing of a batch with an event that it must not read, and says which version it waits for."""
    old = Codec([PUT, EMPTIED], {"Put": Put, "Emptied": Emptied})
    tables = Tables(old, await newer_journal(PUT_2, PUT_3))
    readable = record(1, 1, "Put", AVRO.writer(PUT)({"what": "a"}))
    with pytest.raises(Held, match=r"version 3, which code that knows only version 1 must not read"):
        await tables.applier.apply([readable, record(2, 2, "Put", AVRO.writer(PUT_3)({"what": "n"}))])
    assert ({}, {}) == (tables.boxes.rows, tables.positions.rows)
    await tables.applier.apply([readable])
    assert {"in": ["a"], "position": "box-0:1:0", "sequence": 1} == tables.shown()[0]
