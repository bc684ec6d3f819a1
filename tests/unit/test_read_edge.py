"""Loading and applying see what stored events stand for today: each once, all at their place, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from projections.events import EventReader
from projections.lane import Lane
from projections.rows import GONE
from schemas.codec import Codec
from schemas.formats import AVRO
from schemas.registry import Schema
from streams.handler import load_aggregate
from streams.history import entries
from streams.journal import Commit, RecordedEvent, Snapshot
from streams.journal_memory import MemoryJournal
from streams.reading import Held, decode_event
from tests.unit.boxes import (
    CODEC,
    EMPTIED,
    EMPTY,
    NOW,
    PUT,
    STREAM,
    Boxes,
    Emptied,
    Put,
    Stored,
    box,
    boxes,
    by_type,
    labelled,
    put,
    swapped,
)
from tests.unit.test_upcasting import schema

STORED = [labelled(), put("a"), swapped("b"), labelled("this side up"), put("c")]
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


class Applied:
    """The events of a box on their way into both tables, as one lane applies them."""

    def __init__(self, codec: Codec = CODEC) -> None:
        self.here = Boxes()
        self.here.reader = EventReader(codec, self.here.journal, "/boxes")
        self.tables = [self.here.table(projection) for projection in (boxes, by_type)]

    async def write(self, *stored: Stored) -> None:
        """Each a commit of box `1`."""
        for event in stored:
            await self.here.write(("1", event))

    async def apply(self, first: int = 0, end: int | None = None) -> None:
        """What stands on the topic at these offsets."""
        here = self.here
        lane = Lane(STREAM, 0, here.reader, self.tables, here.letters, here._moved, lambda table: None)
        await lane.apply(await here.published(first, end))

    def shown(self) -> tuple[Any, dict[str, int]]:
        """The row of the box, and the counts."""
        counted = {key: row["count"] for key, row in self.here.rows.rows("by-type-1").items()}
        return self.here.rows.rows("boxes-1")["1"], counted


@pytest.fixture
async def applied() -> Applied:
    """All that the old code has written, published and not applied yet."""
    applied = Applied()
    await applied.write(*STORED)
    return applied


ALL = {"in": ["b", "c"], "position": "box-0:5:0", "sequence": 5}, {"Put": 3, "Emptied": 1}


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_apply(applied: Applied, size: int) -> None:
    """However events are cut into batches: a split one is applied whole, and one that is nothing is counted."""
    for start in range(0, len(STORED), size):
        await applied.apply(start, start + size)
    assert ALL == applied.shown()


@pytest.mark.parametrize("seen", range(1, 6))
async def test_apply_again(applied: Applied, seen: int) -> None:
    """Events that come again change nothing, where they were split and where they removed a row too."""
    await applied.apply(0, seen)
    for late in range(seen):
        await applied.apply(late, late + 1)
    await applied.apply()
    assert ALL == applied.shown()


async def test_a_removed_row_leaves_its_place() -> None:
    """After its last event a removed row has its position only, and the next event goes on from there."""
    applied = Applied()
    await applied.write(*STORED[:2], EMPTY)
    await applied.apply()
    assert {GONE: True, "position": "box-0:3:0", "sequence": 3} == applied.shown()[0]
    await applied.apply(0, 2)
    assert GONE in applied.shown()[0]
    await applied.write(put("d"))
    await applied.apply(3)
    assert {"in": ["d"], "position": "box-0:4:0", "sequence": 4} == applied.shown()[0]


async def test_only_events_that_are_nothing() -> None:
    """An aggregate of which no event is left has no row, and its sequence is known all the same."""
    applied = Applied()
    await applied.write(STORED[0])
    await applied.apply()
    assert ({GONE: True, "position": "box-0:1:0", "sequence": 1}, {}) == applied.shown()


@pytest.mark.parametrize("from_log", [False, True])
async def test_a_newer_event_holds_the_tables_too(from_log: bool) -> None:
    """Old code applies nothing of a batch with an event that it must not read, be it from the topic or from the log,
    and says which version it waits for."""
    applied = Applied(Codec([PUT, EMPTIED], {"Put": Put, "Emptied": Emptied}))
    await applied.here.journal.save_schemas({schema.fingerprint: schema.json for schema in (PUT_2, PUT_3)})
    await applied.write(("Put", AVRO.writer(PUT)({"what": "a"})), ("Put", AVRO.writer(PUT_3)({"what": "n"})))

    async def read() -> None:
        if from_log:
            [events async for events in applied.here.reader.from_log(STREAM, (0, -1))]
        else:
            await applied.apply()

    with pytest.raises(Held, match=r"version 3, which code that knows only version 1 must not read"):
        await read()
    assert {} == applied.here.rows.rows("boxes-1")
    await applied.apply(0, 1)
    assert {"in": ["a"], "position": "box-0:1:0", "sequence": 1} == applied.shown()[0]


async def test_the_log_reads_as_the_topic_does(applied: Applied) -> None:
    """An event is the same from either, but for what it was read from."""
    nothing = {"next_offset": -1, "source": None, "follows": None}
    from_log = [event async for events in applied.here.reader.from_log(STREAM, (0, -1)) for event in events]
    from_topic = await applied.here.published()
    assert [event._replace(**nothing) for event in from_topic] == [event._replace(**nothing) for event in from_log]
    its = [event async for events in applied.here.reader.of_aggregate(STREAM, "1", (6, 0)) for event in events]
    assert [event._replace(**nothing) for event in from_log] == [event._replace(**nothing) for event in its]
