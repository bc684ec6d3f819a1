"""Tables of somebody else's events: the topic is all that there is, and they begin with its first event."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from projections.applying import foreign_events
from projections.applying.event_reader import Event
from projections.applying.foreign_events import TopicLog
from projections.applying.partition_processor import PartitionProcessor
from projections.applying.refolding import fold_key
from projections.projection import Projection, PublishedEvent, Row
from schemas.registry import SchemaError
from streams.foreign_type import ForeignType
from streams.journal.port import Unavailable
from streams.journal.position import BEGINNING
from streams.settings import Settings
from tests.unit.boxes import BANG, BOMB, EMPTIED, EMPTY, PUT, STREAM, Boxes, labelled, put
from tests.unit.until import until


def seen(row: Row | None, key: str, published: PublishedEvent) -> Row:
    """Rows that may begin with any event, of plain JSON."""
    what = published.event.get("what", published.type)
    return {"seen": [*(row["seen"] if row else []), what]}


SEEN = Projection("seen", 1, "box", seen)


class Elsewhere(Boxes):
    """A read side that has the topic alone."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        (folder / "box").mkdir()
        for schema in (PUT, EMPTIED, BOMB):
            (folder / "box" / f"{schema.name}.v1.avsc").write_text(schema.json)
        self.theirs = self.reader = TopicLog(ForeignType("box", Settings(), folder, ["Put", "Bomb"]), self.topic)

    async def shows(self, partition: PartitionProcessor, table: str, **rows: list[str]) -> None:
        """Return when a table goes with the others and has these rows."""
        await until(lambda: partition.is_current(table) and partition.tables[table].place.at == self.head)
        found = await self.rows.load(0, table, list(rows))
        assert rows == {key: row.row["seen"] for key, row in found.items() if row.row}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Elsewhere]:
    here = Elsewhere(tmp_path)
    yield here
    await here.close()


async def test_follows_the_topic(here: Elsewhere) -> None:
    """Events are read as fields, in order; those that are not wanted and those that have no schema are passed over."""
    partition = here.partition()
    await partition.open([here.wanted(SEEN)])
    await here.write(("1", put("a")), ("1", EMPTY), ("2", labelled()))
    await here.write(("1", BANG), ("2", put("b")))
    await here.shows(partition, "seen-1", **{"1": ["a", "Bomb"], "2": ["b"]})
    assert {} == here.theirs.limits


@pytest.mark.parametrize("name", [None, b"\xff", b""])
async def test_what_is_not_wanted_is_not_looked_into(here: Elsewhere, name: bytes | None) -> None:
    """An event of another name, or of one that is no text, holds nothing up, in whatever form its value is."""
    await here.write(("1", put("a")), ("1", EMPTY), ("2", put("b")))
    record = here.topic.records[1]
    headers = [header for header in record.headers if header[0] != "ce_dataschema"]
    if name is not None:
        headers = [("ce_type", name), *(header for header in headers if header[0] != "ce_type")]
    here.topic.records[1] = record._replace(value=b"\0another registry's", headers=headers)
    partition = here.partition()
    await partition.open([here.wanted(SEEN)])
    await here.shows(partition, "seen-1", **{"1": ["a"], "2": ["b"]})


async def test_begins_with_the_first_that_is_left(here: Elsewhere, caplog: pytest.LogCaptureFixture) -> None:
    """Where retention has removed the beginning, a table begins behind it, and that is said once."""
    for what in "abc":
        await here.write(("1", put(what)))
    here.topic.remove_before(1)
    partition = here.partition()
    await partition.open([here.wanted(SEEN)])
    await here.write(("2", put("d")))
    await here.shows(partition, "seen-1", **{"1": ["b", "c"], "2": ["d"]})
    await partition.follow([here.wanted(SEEN), here.wanted(SEEN, "seen-1.1")])
    await here.shows(partition, "seen-1.1", **{"1": ["b", "c"], "2": ["d"]})
    [said] = here.theirs.limits.values()
    assert said.startswith(f"{STREAM}: box-events begins with event 2:0")
    assert 1 == caplog.text.count("begins with event")


async def test_a_hole_is_said_and_passed(here: Elsewhere, caplog: pytest.LogCaptureFixture) -> None:
    """What the topic has lost nobody brings: the log says so, and the table goes on."""
    for what in "abc":
        await here.write(("1", put(what)))
    here.topic.lose(1)
    partition = here.partition()
    await partition.open([here.wanted(SEEN)])
    await here.shows(partition, "seen-1", **{"1": ["a", "c"]})
    assert "the topic lacks what is before event 3:0: so do tables" in caplog.text


async def test_a_table_is_built_beside_another_and_a_row_anew(here: Elsewhere) -> None:
    """A second table catches up and joins the first, from the topic; so is a row folded anew."""
    for number in range(40):
        await here.write((str(number % 4), put(str(number))))
    partition = here.partition()
    await partition.open([here.wanted(SEEN)])
    await here.shows(partition, "seen-1", **{"1": [str(number) for number in range(1, 40, 4)]})
    await partition.follow([here.wanted(SEEN), here.wanted(SEEN, "seen-1.1")])
    await here.write(("1", put("more")))
    rows = {"1": [*(str(number) for number in range(1, 40, 4)), "more"]}
    await here.shows(partition, "seen-1.1", **rows)
    [first, second] = await fold_key(partition, "seen", "1")
    assert (None, None) == (first.waits, second.waits)
    await here.shows(partition, "seen-1", **rows)


async def test_a_topic_that_ends_with_marks_of_transactions(here: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is the end once Kafka's client has passed them, also where the event that is looked for has gone."""
    monkeypatch.setattr(foreign_events, "LOOK_SECONDS", 0.01)
    await here.write(("1", put("a")), ("1", put("b")))
    await here.write(("1", put("c")))
    here.topic.lose(2)
    here.topic.marks = 3

    async def found() -> list[list[Event]]:
        return [
            [event async for events in here.theirs.from_log(STREAM, BEGINNING, (2, 1)) for event in events],
            [event async for events in here.theirs.of_aggregate(STREAM, "1", (2, 1)) for event in events],
        ]

    assert [[(1, 0), (1, 1)]] * 2 == [[event.at for event in events] for events in await found()]
    here.topic.is_slow = True
    with pytest.raises(Unavailable, match="offset 2 of 5 cannot be read yet"):
        await found()


async def test_schemas_that_are_missing(tmp_path: Path) -> None:
    """Are named, with what to do."""
    with pytest.raises(SchemaError, match="no folder"):
        ForeignType("box", Settings(), tmp_path)
    (tmp_path / "box").mkdir()
    with pytest.raises(SchemaError, match="has no schema of an event of box: copy those of its owner"):
        ForeignType("box", Settings(), tmp_path)
    with pytest.raises(SchemaError, match=r"no schema of Put: add .*Put\.v1\.avsc"):
        ForeignType("box", Settings(), tmp_path, ["Put"])


async def test_whether_there_are_events(here: Elsewhere) -> None:
    """From which a table could be built: none of somebody else, and none that the topic has no more."""
    assert not await here.theirs.has_events(STREAM)
    await here.write(("1", put("a")))
    assert await here.theirs.has_events(STREAM)
    here.topic.remove_before(1)
    assert not await here.theirs.has_events(STREAM)
    here.topic.append(b"1", b"{}", [])
    assert not await here.theirs.has_events(STREAM)
