"""Rows of any shape: what `evolve` has returned is what it gets, what others see, or what sets its key aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pytest

from projections.applying import fold
from projections.applying.fold import TableFold, TooManyWait
from projections.applying.refolding import fold_key
from projections.projection import Projection, PublishedEvent, Row, RowError
from projections.stores.local import queries
from projections.stores.rows import (
    Changes,
    Checkpoint,
    StoredRow,
    decode_stored,
    encode_stored,
    head_of,
    is_gone,
    shown,
    shown_json,
)
from tests.folded import Folded, published
from tests.unit.boxes import Boxes, boxes, put
from tests.unit.local_machines import Machine
from tests.unit.projections.applying.test_fold import apply
from tests.unit.sql_machines import Machine as SqlMachine
from tests.unit.until import until

OWN = {"gone": False, "position": "shelf 7", "sequence": 99, "revision": None}
"""What a projection may call its fields."""


def projection(evolve: Callable[[Any, str, PublishedEvent], Any], row: Any = None, local: bool = False) -> Projection:
    return Projection("boxes", 1, "box", evolve, local=local, row=row)


async def in_batches(evolve: Callable[..., Any], row: Any, batches: list[int]) -> tuple[TableFold, dict[str, Any]]:
    """The table and its rows after so many events of one box in each batch."""
    here = Boxes()
    table, first = here.table(projection(evolve, row)), 0
    for count in batches:
        for _ in range(count):
            await here.write(("1", put("a")))
        await apply(here, table, await here.published(first))
        first += count
    return table, here.rows.rows("boxes-1")


# -- a projection's own words ------------------------------------------------------------------------------


@pytest.mark.parametrize("first", OWN)
async def test_a_projection_has_the_names_of_the_engine_for_itself(first: str) -> None:
    """Its fields called `gone`, `position` and `sequence` are given back to it, whichever is the first."""
    own = {first: OWN[first], **OWN}
    seen: list[Any] = []

    def evolve(row: Row | None, key: str, event: PublishedEvent) -> Row:
        seen.append(row)
        return {**own, "times": (row["times"] if row else 0) + 1}

    here = Boxes()
    table = here.table(projection(evolve))
    for nr in range(3):
        await here.write(("1", put("a")), ("1", put("b")))
        await apply(here, table, await here.published(2 * nr))
    assert [None, *({**own, "times": n} for n in range(1, 6))] == seen
    kept = (await here.rows.load(0, "boxes-1", ["1"]))["1"]
    assert StoredRow("box-0:3:1", 6, 0, {**own, "times": 6}) == kept


def test_what_others_see_of_a_row() -> None:
    """All of it, and `position` and `sequence` where it has no such fields itself, in JSON and not."""
    for row, more in (
        ({"id": "a"}, {"position": "order-3:7:0", "sequence": 2}),
        ({}, {"position": "order-3:7:0", "sequence": 2}),
        ({"sequence": None, "in": {"position": 1}}, {"position": "order-3:7:0"}),
        ({"text": '"position":'}, {"position": "order-3:7:0", "sequence": 2}),
        (OWN, {}),
    ):
        stored = StoredRow("order-3:7:0", 2, 0, row)
        assert {**row, **more} == shown(stored) == msgspec.json.decode(shown_json(encode_stored(stored)))
    local = StoredRow("order-3:7:0", row={"id": "a"})
    assert b'{"id":"a","position":"order-3:7:0"}' == shown_json(encode_stored(local))


def test_an_envelope_is_read_without_its_row() -> None:
    """Position, sequence and revision stand before the row, which may hold anything."""
    for row in (None, {}, {"text": "a\nb\nnull"}, {"gone": True}):
        stored = StoredRow("order-3:7:1", 2, 5, row)
        value = encode_stored(stored)
        head = head_of(value)
        assert ("order-3:7:1", 2, 5, (7, 1)) == (head.position, head.sequence, head.revision, head.at)
        assert (stored, row is None) == (decode_stored(value), is_gone(value))


async def test_own_words_in_local_stores(tmp_path: Path) -> None:
    """RocksDB, SQLite and their changelogs keep them, and rows with them are found."""
    rocks, sqlite = Machine(tmp_path / "rocks"), SqlMachine(tmp_path / "sqlite")
    made = {"things-1": Changes(Checkpoint(1, 0, 1, 1), {"a": StoredRow("type-0:1:0", 1, 0, {**OWN, "owner": "x"})})}
    await rocks.rows.save(0, made)
    sqlite.save(made)
    again = Machine(tmp_path / "other", rocks.changelog)
    again.recover()
    for machine in (rocks, again):
        assert {**OWN, "owner": "x"} == msgspec.json.decode(queries.row(machine.store, 0, "things-1", "a") or b"")
        assert ["a"] == queries.indexed(machine.store, 0, "things-1", "owner", "x", "", 10)
    [row] = sqlite.store.rows(0, "things-1", "WHERE owner = 'x'")
    assert {**OWN, "owner": "x"} == msgspec.json.decode(row)
    for machine in (rocks, again, sqlite):
        machine.close()


# -- what a row may hold -----------------------------------------------------------------------------------


class Kind(StrEnum):
    A = "a"


@dataclass
class Point:
    x: int


NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Decimal("2.50"), "total is a Decimal"),
        (NOW, "total is a datetime"),
        ((1, 2), "total is a tuple"),
        ({1, 2}, "total is a set"),
        (b"x", "total is a bytes"),
        (Kind.A, "total is a Kind"),
        (Point(1), "total is a Point"),
        (float("nan"), "JSON has no such number"),
        (float("-inf"), "JSON has no such number"),
        (1 << 64, "more than 64 bits"),
        ({1: "a"}, "total has the key 1, an int"),
        ({"deep": [1, {"er": (2,)}]}, r"total\.deep\[1\]\.er is a tuple"),
    ],
)
async def test_what_would_come_back_otherwise_is_refused_at_once(value: Any, said: str) -> None:
    """At the first event, live, in a rebuild and in given/when/then alike, by its name and type."""

    def evolve(row: Row | None, key: str, event: PublishedEvent) -> Row:
        return {"total": value}

    table, rows = await in_batches(evolve, None, [2])
    assert ({}, ["1"]) == (rows, list(table.quarantined))
    with pytest.raises(RowError, match=said):
        Folded(projection(evolve)).apply(published(put("a")))
    assert table.quarantined["1"].error.startswith("RowError: ")


def appends(row: Row | None, key: str, event: PublishedEvent) -> Row:
    """Changes the row that it is given, and returns it."""
    if row is None:
        return {"lines": []}
    row["lines"].append((1, 2))
    return row


def appends_within(row: Row | None, key: str, event: PublishedEvent) -> Row:
    """Returns a new row, and changes what it shares with the one before."""
    return {**appends(row, key, event)}


@pytest.mark.parametrize("evolve", [appends, appends_within])
@pytest.mark.parametrize("batches", [[1, 1], [1, 2], [2], [3]])
async def test_a_row_that_is_changed_in_place(evolve: Any, batches: list[int]) -> None:
    """Its key is set aside, and says why, also in given/when/then, and when it is folded anew: what is in indexes and
    lists could not be found by the row that it was."""
    said = "RowError: evolve has changed the row that it was given: it is to return a new one"
    table, rows = await in_batches(evolve, None, batches)
    assert ["1"] == list(table.quarantined)
    assert said == table.quarantined["1"].error
    assert [] == rows.get("1", {"lines": []})["lines"]

    given = Folded(projection(evolve))
    given.apply(published(put("a")))
    with pytest.raises(RowError, match="evolve has changed the row"):
        given.apply(published(put("a"), sequence=2))


async def test_a_row_that_is_changed_in_place_is_found_when_it_is_folded_anew() -> None:
    """So an order to try again does not let its key go."""
    here = Boxes()
    partition = here.partition()
    await partition.open([here.wanted(projection(appends))])
    for _ in range(3):
        await here.write(("1", put("a")))
    table = partition.tables["boxes-1"]
    await until(lambda: table.place.at == here.head)
    [folded] = await fold_key(partition, "boxes", "1")
    assert folded.waits is not None
    assert "evolve has changed the row" in folded.waits.error
    await here.close()


async def test_a_row_may_be_returned_as_it_is() -> None:
    """By an event that changes nothing; and a row of a declared type may be changed in place, for it is a copy."""
    table, rows = await in_batches(lambda row, key, event: row if row else {"lines": [{"n": 1}]}, None, [2, 2])
    assert ({}, [{"n": 1}]) == (table.quarantined, rows["1"]["lines"])
    table, rows = await in_batches(appends, TypedDict("It", {"lines": list[tuple[int, int]]}), [2, 2])
    assert ({}, [[1, 2]] * 3) == (table.quarantined, rows["1"]["lines"])


async def test_what_is_no_row() -> None:
    """A row is a dict."""
    table, _ = await in_batches(lambda row, key, event: ["a"], None, [1])
    assert "RowError: a row is a dict, not a list" == table.quarantined["1"].error


async def test_what_a_row_shares_with_the_one_before_is_known() -> None:
    """Only what is new is looked at, wherever it is put in."""

    def evolve(row: Row | None, key: str, event: PublishedEvent) -> Row:
        lines = row["lines"] if row else []
        more: Any = {"n": len(lines)} if len(lines) < 3 else {"n": (1,)}
        return {"lines": [*lines, more]}

    table, rows = await in_batches(evolve, None, [2, 3])
    assert ([{"n": 0}, {"n": 1}, {"n": 2}], 2) == (rows["1"]["lines"], table.quarantined["1"].events)
    assert "lines[3].n is a tuple" in table.quarantined["1"].error


class Typed(TypedDict):
    total: Decimal
    seen: list[datetime]
    by: dict[int, tuple[str, ...]]


@dataclass(frozen=True)
class Data:
    total: Decimal
    seen: list[datetime]
    by: dict[int, tuple[str, ...]]


class Struct(msgspec.Struct, frozen=True):
    total: Decimal
    seen: list[datetime]
    by: dict[int, tuple[str, ...]]


@pytest.mark.parametrize("type_", [Typed, Data, Struct])
@pytest.mark.parametrize("batches", [[6], [1] * 6, [2, 4], [5, 1]])
async def test_a_declared_row_keeps_its_types(type_: Any, batches: list[int]) -> None:
    """Decimals, times, tuples and keys that are no text come back as they are, whatever batches the events come in."""
    seen: list[Any] = []

    def evolve(row: Any, key: str, event: PublishedEvent) -> Any:
        if row is None:
            return type_(total=Decimal("2.50"), seen=[NOW], by={1: ("a",)})
        seen.append(row)
        it = row if type_ is Typed else {name: getattr(row, name) for name in ("total", "seen", "by")}
        by = {n + 1: (*its, "b") for n, its in it["by"].items()}
        return type_(total=it["total"] + Decimal("0.10"), seen=[*it["seen"], NOW], by=by)

    table, rows = await in_batches(evolve, type_, batches)
    assert {} == table.quarantined
    last = {"total": "3.00", "by": {"6": ["a", *"bbbbb"]}, "position": "box-0:6:0", "sequence": 6}
    assert {**last, "seen": ["2026-01-02T03:04:05.678901Z"] * 6} == rows["1"]
    row = seen[-1] if type_ is not Typed else type("It", (), seen[-1])
    assert (Decimal("2.90"), [NOW] * 5, {5: ("a", *"bbbb")}) == (row.total, row.seen, row.by)


async def test_a_declared_row_is_what_its_type_says() -> None:
    """What would not be read again is refused at its event."""
    for row in ({"total": float("nan")}, {"total": "2"}, ["a"], {}):
        table, _ = await in_batches(lambda _, key, event, row=row: row, TypedDict("It", {"total": float}), [1])
        assert table.quarantined["1"].error.startswith("RowError: ")


async def test_a_type_that_no_row_can_have() -> None:
    """It is said when the projection is made."""
    with pytest.raises(ValueError, match="projection boxes: rows are a dataclass, a TypedDict or a Struct, not"):
        projection(lambda row, key, event: row, row=Callable[[], None])


# -- what no store takes -----------------------------------------------------------------------------------


async def test_a_row_that_is_too_large_sets_its_key_aside() -> None:
    """The row stays as it was, its events wait with the reason, the other keys and tables go on; when it fits again
    it is folded anew by the usual order."""
    here = Boxes()
    here.rows.largest = 400
    partition = here.partition()
    await partition.open([here.wanted(), here.wanted(boxes, "boxes-1.1")])
    for _n in range(3):
        await here.write(("1", put("x" * 100)), ("2", put("y")))
    await here.write(("1", put("x" * 100)))  # too large from here on
    await here.write(("1", put("z")), ("2", put("y")))
    table = partition.tables["boxes-1"]
    await until(lambda: table.place.at == here.head)
    rows = here.rows.rows("boxes-1")
    assert (["y"] * 4, 5) == (rows["2"]["in"], table.place.nr)
    assert ["1"] == list(table.quarantined)
    assert "RowTooLarge: the row would have" in table.quarantined["1"].error
    assert len(rows.get("1", {"in": []})["in"]) < 4
    assert len(here.rows.kept[0, "boxes-1"].rows.get("1", b"")) <= 400
    waits = await fold_key(partition, "boxes", "1")
    assert waits
    assert all(it.waits is not None and "takes 400" in it.waits.error for it in waits)
    here.rows.largest = 4_000
    assert all(it.waits is None for it in await fold_key(partition, "boxes", "1"))
    assert (5, {}) == (len(here.rows.rows("boxes-1")["1"]["in"]), table.quarantined)
    await here.write(("1", put("w")))
    await until(lambda: len(here.rows.rows("boxes-1")["1"]["in"]) == 6)
    await here.close()


async def test_a_row_of_which_no_json_can_be_made() -> None:
    """Half a character, or nesting without end, concerns its key alone."""
    deep: Any = {}
    for _ in range(5_000):
        deep = {"in": deep}
    for row in ({"text": "\ud800"}, deep):
        here = Boxes()
        await here.write(("1", put("a")), ("2", put("b")))
        table = here.table(projection(lambda _, key, event, row=row: row if key == "1" else {"fine": True}))
        await apply(here, table, await here.published())
        assert (["1"], ["2"]) == (list(table.quarantined), list(here.rows.rows("boxes-1")))


async def test_all_events_of_such_a_row_wait() -> None:
    """Those of its batch from the first on, each counted once and in the dead letters, also when a later one raises."""

    def evolve(row: Row | None, key: str, event: PublishedEvent) -> Row:
        if event.sequence == 4:
            raise ValueError("no")
        return {"text": "x" * 1_000}

    here = Boxes()
    here.rows.largest = 500
    for _ in range(5):
        await here.write(("1", put("a")))
    folded = await here.table(projection(evolve)).fold(await here.published())
    assert folded is not None
    assert [f"box-0:{nr}:0" for nr in range(1, 6)] == [event.origin.position for event, _, _ in folded.waiting]
    [waits] = folded.changes.quarantined.values()
    assert ("box-0:1:0", 5, "box-0:5:0") == (waits.position, waits.events, waits.last)
    assert ({}, {}) == (folded.changes.rows, folded.changes.encoded)


async def test_a_reason_is_short() -> None:
    """However long the text of an error is, and in one line."""

    def evolve(row: Row | None, key: str, event: PublishedEvent) -> Row:
        raise ValueError("line\n" * 10_000)

    table, _ = await in_batches(evolve, None, [1])
    assert len(table.quarantined["1"].error) <= fold.MOST_REASON
    assert "\n" not in table.quarantined["1"].error


async def test_a_bug_that_all_keys_meet(monkeypatch: Any, caplog: Any) -> None:
    """So many keys wait and no more: then the table stands still, says what to do, and keeps no more of it."""

    def evolve(row: Row | None, key: str, event: PublishedEvent) -> Row:
        raise ValueError("a bug")

    monkeypatch.setattr(fold, "MOST_WAITING", 10)
    here = Boxes()
    table = here.table(projection(evolve))
    for n in range(12):
        await here.write((f"{n}", put("a")))
    await apply(here, table, await here.published(0, 10))
    with pytest.raises(TooManyWait, match=r"10 keys of boxes-1 wait: .*`projections rebuild boxes`"):
        await table.fold(await here.published(10))
    assert 1 == sum(record.exc_info is not None for record in caplog.records)


async def test_a_correction_is_another_revision() -> None:
    """A row that is folded anew and comes out otherwise has the same position and a higher revision; the same row has
    the same one, and the next event begins again."""
    here, said = Boxes(), ["wrong"]

    def evolve(row: Row | None, key: str, event: PublishedEvent) -> Row:
        return {"said": said[0]}

    partition = here.partition()
    await partition.open([here.wanted(projection(evolve))])
    await here.write(("1", put("a")))
    await until(lambda: bool(here.rows.rows("boxes-1")))

    async def revision() -> tuple[str, int]:
        kept = (await here.rows.load(0, "boxes-1", ["1"]))["1"]
        return kept.position, kept.revision

    await fold_key(partition, "boxes", "1")
    assert ("box-0:1:0", 0) == await revision()
    said[0] = "right"
    for expected in (1, 1):
        await fold_key(partition, "boxes", "1")
        assert ("box-0:1:0", expected) == await revision()
    said[0] = "better"
    await fold_key(partition, "boxes", "1")
    assert ("box-0:1:0", 2) == await revision()
    await here.write(("1", put("b")))
    await until(lambda: here.rows.rows("boxes-1")["1"]["position"] == "box-0:2:0")
    assert ("box-0:2:0", 0) == await revision()
    await here.close()


async def test_a_batch_that_cannot_be_kept_is_said_once(caplog: Any) -> None:
    """However often it is folded while its store is down."""

    def evolve(row: Row | None, key: str, event: PublishedEvent) -> Row:
        raise ValueError("a bug")

    here = Boxes()
    table = here.table(projection(evolve))
    await here.write(("1", put("a")))
    for _ in range(5):
        await table.fold(await here.published())
    assert 1 == caplog.text.count("1 waits at box-0:1:0")
