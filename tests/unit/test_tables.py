"""Local tables over real RocksDB: what is written, and what a recovery makes of a changelog."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from projections import queries, tables
from projections.fold import TableFold
from projections.projection import Row
from projections.rows import GONE, Changes, Place, Quarantined, position_of
from tests.unit.boxes import BANG, Boxes, boxes, put
from tests.unit.machines import Changelog, Machine

RED, BLUE, PLAIN = ({"colour": colour} for colour in ("red", "blue", None))
TABLE = "things-1"


@pytest.fixture
def changelog() -> Changelog:
    return Changelog()


@pytest.fixture
def machine(tmp_path: Path, changelog: Changelog) -> Machine:
    return Machine(tmp_path / "one", changelog)


@pytest.fixture
def other(tmp_path: Path, changelog: Changelog) -> Machine:
    return Machine(tmp_path / "other", changelog)


def positions(rows: dict[str, Row]) -> dict[str, str]:
    return {key: row["position"] for key, row in rows.items()}


async def test_written_with_its_offset(machine: Machine, other: Machine) -> None:
    """Rows and place stand in RocksDB with the offset that they have on the changelog; another worker recovers all of
    it, and its indexes are the same."""
    await machine.put(TABLE, 1, a=RED, b=BLUE)
    await machine.put(TABLE, 3, a=BLUE)
    other.recover()
    for worker in (machine, other):
        assert {"a": "thing-0:3:0", "b": "thing-0:1:0"} == positions(await worker.all(TABLE))
        assert ({TABLE: Place(3, 0, 3)}, 4) == (await worker.rows.places(0), worker.read_up_to)
        assert {"blue": 2} == queries.counts(worker.store, 0, TABLE, "colour")
        assert "" == await worker.difference(TABLE)


async def test_changelog_first(machine: Machine, changelog: Changelog) -> None:
    """Rows that are not on the changelog are not in the table either."""
    changelog.takes = 1
    with pytest.raises(ConnectionError):
        await machine.put(TABLE, 1, a=RED)
    assert ({}, {}, -1) == (await machine.all(TABLE), await machine.rows.places(0), machine.read_up_to)


async def test_late_rows_of_a_former_owner(machine: Machine, other: Machine) -> None:
    """Older rows and an older place that a former owner puts behind newer ones change nothing, for either, when they
    recover."""
    await machine.put(TABLE, 1, a=RED)
    other.recover()
    await other.put(TABLE, 3, a=BLUE, b=BLUE)
    await machine.put(TABLE, 2, a=RED)  # it was stopped in the middle of this
    for worker in (machine, other):
        worker.recover()
        assert {"a": "thing-0:3:0", "b": "thing-0:3:0"} == positions(await worker.all(TABLE))
        assert (Place(3, 0, 3), 6) == ((await worker.rows.places(0))[TABLE], worker.read_up_to)
        assert "" == await worker.difference(TABLE)


async def test_a_late_quarantine_of_a_former_owner(machine: Machine, other: Machine) -> None:
    """Who waited and was released waits no more, whatever a former owner still writes; nor are fewer counted."""

    def waits(events: int, last: int) -> dict[str, Changes]:
        return {TABLE: Changes(Place(last, 0), {}, {"a": Quarantined("thing-0:2:0", "", events, f"thing-0:{last}:0")})}

    await other.rows.save(0, waits(2, 4))
    await machine.rows.save(0, waits(1, 2))
    other.recover()
    machine.recover()
    assert [2, 2] == [(await it.rows.quarantined(0, TABLE))["a"].events for it in (machine, other)]
    await other.rows.save(0, waits(0, 4))
    await machine.rows.save(0, waits(2, 4))
    for worker in (machine, other):
        worker.recover()
        assert {} == await worker.rows.quarantined(0, TABLE)


async def test_what_others_wrote_is_read(machine: Machine, other: Machine) -> None:
    """A worker that writes behind what it has not read goes on from there when it recovers, and misses none of it."""
    await machine.put(TABLE, 1, a=RED)
    other.recover()
    await other.put(TABLE, 2, b=RED)
    await machine.put(TABLE, 3, c=RED)
    assert 1 == machine.read_up_to
    machine.recover()
    assert {"a", "b", "c"} == (await machine.all(TABLE)).keys()


@pytest.mark.parametrize(("kept", "upto"), [(kept, upto) for kept in range(4) for upto in (2, *range(4, kept + 5))])
async def test_a_recovery_that_ends_anywhere(tmp_path: Path, changelog: Changelog, kept: int, upto: int) -> None:
    """However much of a batch reached the changelog before its worker was killed, and however much of that the next one
    has read: it applies the events again, and has the rows, and as many that wait, as there are."""
    here = Boxes()
    await here.write(("1", put("a")), ("1", BANG), ("2", put("b")))
    await here.write(("1", put("c")), ("2", put("d")))
    events = await here.published()
    first = Machine(tmp_path / "first", changelog)

    async def apply(worker: Machine, start: int, end: int) -> None:
        table = TableFold("boxes-1", boxes, worker.rows, 0)
        table.place = (await worker.rows.places(0)).get("boxes-1", Place())
        table.quarantined = dict(await worker.rows.quarantined(0, "boxes-1"))
        folded = await table.fold(events[start:end])
        if folded is not None:
            await worker.rows.save(0, {"boxes-1": folded.changes})

    await apply(first, 0, 3)
    changelog.takes = kept
    with pytest.raises(ConnectionError):
        await apply(first, 3, 5)
    changelog.takes = None
    second = Machine(tmp_path / "second", changelog)
    second.recover(upto)
    await apply(second, 0, 5)
    second.recover()
    assert here.expected() == await second.all("boxes-1")
    assert {"1": 2} == {key: it.events for key, it in (await second.rows.quarantined(0, "boxes-1")).items()}
    third = Machine(tmp_path / "third", changelog)
    third.recover()
    assert here.expected() == await third.all("boxes-1")


async def test_tables_do_not_meet(machine: Machine) -> None:
    """However alike their names and keys are, and whatever is in the keys."""
    names = ["things-1", "things-1.1", "things-10", "things-2", "thing-1", "other-1"]
    for number, name in enumerate(names, 1):
        await machine.put(name, number, **{"": RED, "a\0b": RED, "ü": BLUE, "a" * number: PLAIN})
    assert {name: Place(nr, 0, nr) for nr, name in enumerate(names, 1)} == await machine.rows.places(0)
    for number, name in enumerate(names, 1):
        assert {"", "a\0b", "ü", "a" * number} == (await machine.all(name)).keys()
        assert {} == await machine.rows.quarantined(0, name)
    assert "" == await machine.difference("things-1")


@pytest.mark.parametrize("at_once", [1, 2, 1_000])
async def test_dropped(
    machine: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Of a table that is dropped nothing is left, no row and no index, here and wherever it is recovered; others
    stay."""
    monkeypatch.setattr(tables, "DROPPED_AT_ONCE", at_once)
    await machine.put(TABLE, 1, a=RED, b=BLUE)
    await machine.put("things-1.1", 1, a=RED)
    other.recover()
    await machine.rows.drop(0, TABLE)
    await machine.rows.drop(0, TABLE)
    for worker in (machine, other):
        worker.recover()
        assert {"things-1.1": Place(1, 0, 1)} == await worker.rows.places(0)
        assert {key for key, _ in worker.store.items(0, b"")} == {
            key for key, _ in worker.store.items(0, b"things-1.1\0")
        }
        assert "" == await worker.difference("things-1.1")


async def test_what_a_removed_row_has_left(machine: Machine) -> None:
    """Queries do not see what a removed row has left behind; the engine does, and it counts as a change."""
    await machine.put(TABLE, 1, a=RED, b=RED)
    await machine.put(TABLE, 2, b={GONE: True})
    assert {"a", "b"} == (await machine.rows.load(0, TABLE, ["a", "b", "c"])).keys()
    assert queries.row(machine.store, 0, TABLE, "b") is None
    assert 1 == len(list(queries.scan(machine.store, 0, TABLE)))
    assert ["a"] == queries.indexed(machine.store, 0, TABLE, "colour", "red", "", 10)
    assert [((1, 0), "a"), ((2, 0), "b")] == [
        (change.at, change.key) for change in queries.changes(machine.store, 0, TABLE, (0, -1), 10)
    ]


async def test_a_row_that_an_index_cannot_read(machine: Machine) -> None:
    """It is not listed, and the row is kept all the same."""
    await machine.put(TABLE, 1, a={"color": "red"}, b=RED)
    await machine.put(TABLE, 2, a=RED, b={"color": "red"})
    assert {"red": 1} == queries.counts(machine.store, 0, TABLE, "colour")
    assert ["a"] == queries.indexed(machine.store, 0, TABLE, "colour", "red", "", 10)


# -- all together --------------------------------------------------------------------------------------

COLOURS = st.sampled_from(["red", "blue", None, "gone"])
EVENTS = st.lists(st.tuples(st.sampled_from("abcd"), COLOURS), max_size=5)
MACHINE = st.integers(0, 1)


class Workers(RuleBasedStateMachine):
    """Two workers fold the same events, each from where it is, whoever of them has the partition: one is late."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = TemporaryDirectory()
        self.events: list[tuple[str, Any]] = []
        changelog = Changelog()
        self.machines = [Machine(Path(self.folder.name) / name, changelog) for name in ("one", "two")]

    def teardown(self) -> None:
        self.loop.close()
        for machine in self.machines:
            machine.close()
        self.folder.cleanup()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def rows_after(self, count: int) -> dict[str, Row]:
        """The rows that the first events make."""
        rows: dict[str, Row] = {}
        for nr, (key, colour) in enumerate(self.events[:count], 1):
            row = {GONE: True} if colour == "gone" else {"colour": colour}
            rows[key] = {**row, "position": f"thing-0:{nr}:0"}
        return rows

    def done(self, machine: Machine) -> int:
        """How many events a worker has applied."""
        return int(self.run(machine.rows.places(0)).get(TABLE, Place()).nr)

    @rule(number=MACHINE, events=EVENTS, most=st.integers(1, 6), told=st.booleans())
    def apply(self, number: int, events: list[tuple[str, Any]], most: int, told: bool) -> None:
        """Something happens, and a worker applies what it can, as a fold does: it leaves a row alone that is newer."""
        self.events += events
        machine = self.machines[number]
        upto = min(self.done(machine) + most, len(self.events))
        rows = self.rows_after(upto)
        loaded = self.run(machine.rows.load(0, TABLE, rows.keys()))
        changed = {
            key: row for key, row in rows.items() if key not in loaded or position_of(row) > position_of(loaded[key])
        }
        change = Changes(Place(upto, 0, upto), changed, before=loaded if told else None)
        self.run(machine.rows.save(0, {TABLE: change}))

    @rule(number=MACHINE)
    def recover(self, number: int) -> None:
        """A worker is given the partition, or stands by: nothing that it has goes back by that."""
        machine = self.machines[number]
        rows, done = self.run(machine.all(TABLE)), self.done(machine)
        machine.recover()
        found = self.run(machine.all(TABLE))
        assert self.done(machine) >= done
        assert all(position_of(found[key]) >= position_of(row) for key, row in rows.items())

    @precondition(lambda self: len(self.events) > 12)
    @rule(number=MACHINE)
    def drop(self, number: int) -> None:
        """The table is removed by who has recovered it, and begins anew."""
        self.machines[number].recover()
        self.run(self.machines[number].rows.drop(0, TABLE))
        self.events.clear()
        for machine in self.machines:
            machine.recover()
            assert [] == list(machine.store.items(0, b""))

    @invariant()
    def rows_are_of_the_events(self) -> None:
        """None is older than the place of the table, and each is what the events up to its own position make."""
        for machine in self.machines:
            rows = self.run(machine.all(TABLE))
            for key, row in self.rows_after(self.done(machine)).items():
                assert position_of(rows[key]) >= position_of(row)
            for key, row in rows.items():
                assert self.rows_after(position_of(row)[0])[key] == row

    @invariant()
    def indexes_follow_from_the_rows(self) -> None:
        for machine in self.machines:
            assert "" == self.run(machine.difference(TABLE))


# Steps that fail are printed as they are: to look for fewer of them takes minutes on a disk.
WITHOUT_SHRINKING = (Phase.reuse, Phase.generate)
Workers.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, phases=WITHOUT_SHRINKING
)
TestWorkers = Workers.TestCase
