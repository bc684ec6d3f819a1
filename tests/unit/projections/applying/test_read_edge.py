"""Loading and applying see what stored events stand for today: each once, all at their place, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from projections.applying.event_reader import EventReader
from projections.applying.fold import TableFold
from projections.projection import Row
from schemas.codec import Codec
from schemas.formats import AVRO
from schemas.registry import Schema
from streams.deciding.loading import load_aggregate
from streams.journal.event_decoding import NotReadableYet, decode_event
from streams.journal.event_view import entries
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, RecordedEvent, SliceHead, Snapshot
from tests.flat_rows import GONE
from tests.unit.boxes import (
    CODEC,
    EMPTIED,
    EMPTY,
    NOW,
    PUT,
    Boxes,
    Emptied,
    Put,
    Read,
    Stored,
    box,
    boxes,
    by_type,
    labelled,
    put,
    swapped,
)
from tests.unit.schemas.test_upcasting import schema

STORED = [labelled(), put("a"), swapped("b"), labelled("this side up"), put("c")]
"""What the old code has written, which stands for: put a, emptied, put b, put c."""


async def a_journal(stored: Iterable[Stored] = STORED) -> MemoryJournal:
    """Box `1`, with a commit for each stored event."""
    journal = MemoryJournal()
    await journal.create()
    commits = [
        Commit(
            "box@0", nr, 1, "o", "t", {0: SliceHead(nr, nr)}, 0, NOW, (RecordedEvent("1", nr, type, data, f"c{nr}"),)
        )
        for nr, (type, data) in enumerate(stored, 1)
    ]
    for commit in commits:
        await journal.append(commit)
    await journal.derive(commits)
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


def old_code() -> Codec:
    """What was known before there were newer events."""
    return Codec([PUT, EMPTIED], {"Put": Put, "Emptied": Emptied})


def written_as(schema: Schema) -> Stored:
    """A `Put` of newer code."""
    return "Put", AVRO.writer(schema)({"what": "n"})


async def newer_journal(*schemas: Schema) -> MemoryJournal:
    """A journal with a `Put` of the last of these schemas, all of which its writer has left there."""
    journal = await a_journal([written_as(schemas[-1])])
    await journal.save_schemas({schema.fingerprint: schema.json for schema in schemas})
    return journal


async def test_a_newer_event_is_read() -> None:
    """An old worker takes the schema of a newer event from the journal, and reads what it knows of it."""
    assert ("n",) == (await load_aggregate(await newer_journal(PUT_2), box, old_code(), "1", 10)).state


@pytest.mark.parametrize("newer", [(PUT_2, PUT_3), (schema("Sealed", 1),)], ids=["means something else", "new type"])
async def test_a_newer_event_holds_an_old_worker(newer: tuple[Schema, ...]) -> None:
    """What an old worker must not or cannot read holds it, each time that it tries, and it says what to do."""
    journal, codec = await newer_journal(*newer), old_code()
    for _ in range(2):
        with pytest.raises(NotReadableYet, match="deploy the version that knows it"):
            await load_aggregate(journal, box, codec, "1", 10)


async def test_bytes_of_nobody_hold_too() -> None:
    """Bytes in no format at all are not for this version to skip."""
    with pytest.raises(NotReadableYet, match="not in Avro single-object encoding or JSON"):
        await decode_event(CODEC, await a_journal([]), b"\x00?")


# -- applying ------------------------------------------------------------------------------------------


class Tables:
    """Both projections of the boxes, as a processor keeps them."""

    def __init__(self, here: Boxes) -> None:
        self._here = here
        self._tables = [here.table(boxes), here.table(by_type)]

    async def apply(self, events: Sequence[Read]) -> None:
        for table in self._tables:
            await self._apply(table, events)

    async def _apply(self, table: TableFold, events: Sequence[Read]) -> None:
        folded = await table.fold(events)
        if folded is not None:
            await self._here.rows.save(0, {table.table: folded.changes})
            table.kept(folded)

    async def apply_again(self, events: Sequence[Read]) -> None:
        """As by a worker that does not know how far the tables are, so that it is the rows that say."""
        for table in self._tables:
            await self._apply(self._here.table(table.projection), events)

    def row(self) -> Row:
        """That of the box."""
        return self._here.rows.rows("boxes-1")["1"]

    def counted(self) -> dict[str, int]:
        """How often each type was seen."""
        return {key: row["count"] for key, row in self._here.rows.rows("by-type-1").items()}


async def written(stored: Iterable[Stored] = STORED) -> Boxes:
    """Box `1` again, and the topic, which has a commit for each stored event."""
    here = Boxes()
    for it in stored:
        await here.write(("1", it))
    return here


LAST = {"in": ["b", "c"], "position": "box-0:5:0", "sequence": 5}
COUNTED = {"Put": 3, "Emptied": 1}


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_apply(size: int) -> None:
    """However events are cut into batches: a split one is applied whole, and one that is nothing is counted."""
    here = await written()
    tables, events = Tables(here), await here.published()
    for start in range(0, len(events), size):
        await tables.apply(events[start : start + size])
    assert (LAST, COUNTED) == (tables.row(), tables.counted())


@pytest.mark.parametrize("seen", range(1, 6))
async def test_apply_again(seen: int) -> None:
    """Events that come again change nothing, where they were split and where they removed a row too."""
    here = await written()
    tables, events = Tables(here), await here.published()
    await tables.apply(events[:seen])
    before = (tables.row(), tables.counted())
    for late in events[:seen]:
        await tables.apply([late])
        await tables.apply_again([late])
        assert before == (tables.row(), tables.counted())
    await tables.apply(events)
    assert (LAST, COUNTED) == (tables.row(), tables.counted())


async def test_a_removed_row_leaves_its_place() -> None:
    """After its last event a removed row has its position only, and the next event goes on from there."""
    here = await written([*STORED[:2], EMPTY, put("d")])
    tables, events = Tables(here), await here.published()
    await tables.apply(events[:3])
    assert {GONE: True, "position": "box-0:3:0", "sequence": 3} == tables.row()
    await tables.apply_again(events[:2])
    assert GONE in tables.row()
    await tables.apply(events[3:])
    assert {"in": ["d"], "position": "box-0:4:0", "sequence": 4} == tables.row()


async def test_only_events_that_are_nothing() -> None:
    """An aggregate of which no event is left has no row, and its sequence is known all the same."""
    here = await written(STORED[:1])
    tables = Tables(here)
    await tables.apply(await here.published())
    assert ({GONE: True, "position": "box-0:1:0", "sequence": 1}, {}) == (tables.row(), tables.counted())


async def test_a_newer_event_holds_the_tables_too() -> None:
    """Old code applies nothing of a batch with an event that it must not read, and says each time that it tries which
    version it waits for."""
    here = await written([put("a"), written_as(PUT_3)])
    await here.journal.save_schemas({schema.fingerprint: schema.json for schema in (PUT_2, PUT_3)})
    reader = EventReader(old_code(), here.journal, here.logs)
    for _ in range(2):
        with pytest.raises(
            NotReadableYet, match=r"version 3, which code that knows only version 1 must not read.*: deploy"
        ):
            await reader.read(here.topic.records, "box-0")
    tables = Tables(here)
    await tables.apply(await reader.read(here.topic.records[:1], "box-0"))
    assert {"in": ["a"], "position": "box-0:1:0", "sequence": 1} == tables.row()
