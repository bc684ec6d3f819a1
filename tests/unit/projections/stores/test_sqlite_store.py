"""Tables in SQLite over a real disk: what is written, what a recovery makes of a changelog, and what a view finds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from projections.stores.changelog import ROW, key_of
from projections.stores.local.sqlite import OPEN_TRIES
from projections.stores.local.store import TableError
from projections.stores.rows import Checkpoint, Quarantined
from tests.flat_rows import encoded
from tests.unit.sql_machines import TABLE, Machine, row


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "one")


@pytest.fixture
def other(tmp_path: Path, machine: Machine) -> Machine:
    """Another worker with the same changelog."""
    return Machine(tmp_path / "other", machine.changelog)


def test_written_with_its_offset(machine: Machine, other: Machine) -> None:
    """Rows, the table's place and what is in quarantine stand with their offset; another worker recovers the same."""
    assert ({}, {}, None) == (machine.store.places(0), machine.store.quarantined(0, TABLE), machine.read_up_to)
    held = {"c": Quarantined("type-0:2:1", "no rule", 3)}
    machine.put(1, a={"owner": "x"}, b={})
    machine.put(2, a={"owner": "y"}, held=held)
    other.recover()
    for worker in (machine, other):
        assert [row(2, owner="y"), row(1), None] == worker.rows("a", "b", "c")
        assert ({TABLE: Checkpoint(2, 0, 2, 2)}, held) == (worker.store.places(0), worker.store.quarantined(0, TABLE))
        assert len(machine.changelog) - 1 == worker.read_up_to


def test_a_late_quarantine_of_a_former_owner(machine: Machine, other: Machine) -> None:
    """Who waited and was released waits no more, whatever a former owner still writes; nor are fewer counted."""

    def waiting(events: int, last: int) -> Mapping[str, Quarantined]:
        return {"a": Quarantined("type-0:2:0", "no rule", events, f"type-0:{last}:0")}

    other.put(4, held=waiting(2, 4))
    machine.put(2, held=waiting(1, 2))
    for worker in (machine, other):
        worker.recover()
        assert waiting(2, 4) == worker.store.quarantined(0, TABLE)
    other.put(4, held=waiting(0, 4))
    machine.put(4, held=waiting(2, 4))
    for worker in (machine, other):
        worker.recover()
        assert {} == worker.store.quarantined(0, TABLE)


def test_released_from_quarantine(machine: Machine) -> None:
    """A key whose events wait no more is out of quarantine; what says so is kept, and no late record undoes it."""
    for nr, waiting in ((1, 2), (3, 0), (2, 2)):
        machine.put(nr, held={"a": Quarantined(f"type-0:{nr}:0", "no rule", waiting)})
    assert ({}, 2) == (machine.store.quarantined(0, TABLE), len(machine.store.record_keys(0, TABLE)))


def test_late_records_of_a_former_owner(machine: Machine, other: Machine) -> None:
    """Older records that a former owner puts behind newer ones change nothing, for either, when they recover."""
    machine.put(1, a={})
    other.recover()
    other.put(3, a={}, b={}, c=None, held={"d": Quarantined("type-0:3:0", "new", 1)})
    machine.put(2, a={}, b={}, c={}, held={"d": Quarantined("type-0:2:0", "old", 1)})  # stopped in the middle of this
    assert 2 == machine.store.places(0)[TABLE].nr
    for worker in (machine, other):
        worker.recover()
        assert [row(3), row(3), {"gone": True, **row(3)}] == worker.rows("a", "b", "c")
        assert (3, "new") == (worker.store.places(0)[TABLE].nr, worker.store.quarantined(0, TABLE)["d"].error)
        assert len(machine.changelog) - 1 == worker.read_up_to


def test_late_record_is_not_written(machine: Machine) -> None:
    """Nor does an older record change what is here when it is written, the same again does no harm, and the second
    event of a commit is newer than the first."""
    machine.put(3, a={"n": 1})
    machine.put(2, a={"n": 2})
    machine.put(3, a={"n": 3})
    assert [row(3, n=3)] == machine.rows("a")
    machine.write([(key_of(TABLE, ROW, "a"), encoded(position="type-0:3:1"))])
    machine.put(3, a={"n": 4})
    assert [{"position": "type-0:3:1"}] == machine.rows("a")


def test_what_others_wrote_is_read(machine: Machine, other: Machine) -> None:
    """A worker that writes behind what it has not read goes on from there when it recovers, and misses none of it."""
    machine.put(1, a={})
    other.recover()
    other.put(2, b={})
    machine.put(3, c={})
    assert 1 == machine.read_up_to
    machine.recover()
    assert [row(1), row(2), row(3)] == machine.rows("a", "b", "c")


def test_all_or_nothing(machine: Machine) -> None:
    """A batch that cannot be written whole, of whichever table, leaves nothing, its offset neither."""
    machine.put(1, a={})
    with pytest.raises(ValueError, match="array"):
        machine.write([(key_of(TABLE, ROW, "b"), encoded(position="type-0:2:0")), (key_of("z-1", ROW, "c"), b'{"')])
    assert ([None], {TABLE}, 1) == (machine.rows("b"), set(machine.store.places(0)), machine.read_up_to)


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """What a process that is killed leaves is a batch whole or not at all, with its offset."""
    writer = (
        "import sys; from tests.unit.projections.stores.test_sqlite_store import "
        "write_without_end; write_without_end(sys.argv[1])"
    )
    command = [sys.executable, "-c", writer, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[4]) as process:
        assert process.stdout is not None
        for _ in range(30):
            assert process.stdout.readline()
        process.kill()
    machine = Machine(tmp_path)
    nrs = {found["position"] for found in machine.rows(*(str(key) for key in range(100)))}
    place = machine.store.places(0)[TABLE]
    assert place.nr >= 30
    assert ({f"type-0:{place.nr}:0"}, place.nr * 101 - 1) == (nrs, machine.read_up_to)


def write_without_end(folder: str) -> None:
    """Write the same hundred rows again and again, as of the next commit each time, and say so."""
    machine, nr = Machine(Path(folder)), 0
    while True:
        nr += 1
        machine.put(nr, **{str(key): {"owner": "x" * 100} for key in range(100)})
        print(nr, flush=True)


def test_what_a_removed_row_has_left(machine: Machine) -> None:
    """Queries do not see what a removed row has left behind; the engine does."""
    machine.put(1, a={"owner": "x"}, b={"owner": "x"})
    machine.put(2, b=None)
    assert [row(1, owner="x"), {"gone": True, **row(2)}] == machine.rows("a", "b")
    assert [b'{"owner":"x","position":"type-0:1:0"}'] == machine.store.rows(0, TABLE)
    assert [(1,)] == machine.store.select(0, TABLE, "SELECT count(*) FROM {table}")


def test_a_view_looks_by_column(machine: Machine) -> None:
    """A view finds rows by a declared column, in its order and bounds, by its index; and it cannot write."""
    machine.put(1, **{str(n): {"owner": f"o{n % 3}"} for n in range(9)})
    sql = "SELECT key FROM {table} WHERE owner = ? AND key > ? ORDER BY key LIMIT ?"
    assert [("4",), ("7",)] == machine.store.select(0, TABLE, sql, ("o1", "1", 2))
    assert [("7",)] == machine.store.select(0, TABLE, "SELECT max(key) FROM {table} WHERE owner = :o", {"o": "o1"})
    with machine.store._file(0) as file:
        table = f"(SELECT * FROM {file._name(TABLE)} WHERE NOT gone)"
        (plan,) = file._db.execute(f"EXPLAIN QUERY PLAN SELECT row FROM {table} WHERE owner = 'o1' ORDER BY key")
    assert "USING INDEX things-1 by owner, key" in plan[-1]
    with pytest.raises(ValueError, match="is no SELECT"):
        machine.store.select(0, TABLE, "DELETE FROM {table}")


def test_a_wrong_question_is_no_damage(machine: Machine) -> None:
    """What is wrong with a view's SQL is raised as it is, and the table serves on."""
    machine.put(1, a={})
    with pytest.raises(Exception, match="no such column"):
        machine.store.rows(0, TABLE, "WHERE unknown = 1")
    assert (set(), 0, [row(1)]) == (machine.store.damaged, machine.consumer.rejoined, machine.rows("a"))


def test_dropped(machine: Machine, other: Machine) -> None:
    """A dropped table is gone with its place, another stays; it can be written anew. Dropping again does nothing."""
    machine.put(1, a={}, held={"b": Quarantined("type-0:1:0", "x", 1)})
    machine.put(1, a={}, table="kept-1")
    keys = machine.store.record_keys(0, TABLE)
    assert [] == machine.store.record_keys(0, "none-1")
    assert {key for key, _ in machine.changelog if key.startswith(TABLE.encode())} == set(keys)
    for _ in range(2):
        machine.store.drop(0, TABLE)
    assert ({"kept-1"}, {}, [None]) == (
        set(machine.store.places(0)),
        machine.store.quarantined(0, TABLE),
        machine.rows("a"),
    )
    assert [row(1)] == machine.rows("a", table="kept-1")
    machine.put(2, a={})
    assert [row(2)] == machine.rows("a")


@pytest.mark.parametrize("at_once", [1, 1_000])
def test_a_drop_is_recovered(machine: Machine, other: Machine, at_once: int) -> None:
    """What removes a table's records removes the table, here and where the changelog is read, in whatever order."""
    machine.put(1, a={}, b={}, held={"b": Quarantined("type-0:1:0", "x", 1)})
    machine.put(1, a={}, table="kept-1")
    keys = machine.store.record_keys(0, TABLE)
    machine.write([(key, None) for key in reversed(keys)])
    other.recover(at_once)
    for worker in (machine, other):
        with worker.store._file(0) as file:
            assert [("kept-1",)] == file._db.execute("SELECT name FROM tables").fetchall()
        assert ({"kept-1"}, [None]) == (set(worker.store.places(0)), worker.rows("a"))


def test_removed_and_written_again(machine: Machine, other: Machine) -> None:
    """A record that is removed and comes again within one batch of a recovery is there, as of its last position."""
    machine.put(5, a={})
    machine.write([(key_of(TABLE, ROW, "a"), None)])
    machine.put(2, a={"n": 1})
    other.recover()
    assert [row(2, n=1)] == other.rows("a") == machine.rows("a")


async def test_partitions_that_others_have_are_closed(machine: Machine) -> None:
    """A file is closed when its partition is revoked, and opened when it is assigned; other topics are not its own."""
    machine.put(1, a={})
    elsewhere = TP("elsewhere", 0)
    await machine.store.on_rebalance(set(), {elsewhere}, set())
    assert [0] == list(machine.store._files)
    await machine.store.on_rebalance(set(), {machine.tp, elsewhere}, set())
    assert [] == list(machine.store._files)
    await machine.store.on_rebalance({machine.tp}, set(), {machine.tp, elsewhere})
    assert ([0], [row(1)]) == (list(machine.store._files), machine.rows("a"))
    await machine.store.on_stop()
    assert [] == list(machine.store._files)


async def test_a_file_that_another_process_has(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two with the same folder do not share a file: the second is refused, waits at a rebalance, and gives up when the
    next one begins."""
    machine.put(1, a={})
    second = Machine(tmp_path / "one")
    with pytest.raises(TableError, match="locked"):
        second.rows("a")
    assert 0 == second.consumer.rejoined
    monkeypatch.setattr("projections.stores.local.sqlite.OPEN_PAUSE", 0.001)
    app: Any = second.store.app
    monkeypatch.setattr(type(app), "consumer_generation_id", 7)
    await second.store.on_rebalance({second.tp}, set(), {second.tp}, 6)
    with pytest.raises(Exception, match="locked"):
        await second.store.on_rebalance({second.tp}, set(), {second.tp}, 7)
    machine.close()
    await second.store.on_rebalance({second.tp}, set(), {second.tp}, 7)
    assert (True, [row(1)]) == (OPEN_TRIES > 1, second.rows("a"))


def test_reset(machine: Machine, tmp_path: Path) -> None:
    """`faust reset` removes the table's files, and no other's."""
    machine.put(1, a={})
    others = machine.path.with_name("type-more-0.sqlite")
    others.write_bytes(b"")
    machine.faust_table.reset_state()
    assert [others] == list(machine.path.parent.iterdir())
    assert [None] == machine.rows("a")


def test_nothing_to_write(machine: Machine) -> None:
    """Faust flushes when there is nothing, too; and it may say itself how far the changelog is known."""
    machine.store.apply_changelog_batch([], None, None)
    machine.store.set_persisted_offset(SimpleNamespace(partition=0), 12)
    assert 12 == machine.read_up_to


def test_who_asks_makes_no_table(machine: Machine) -> None:
    """A table that nobody has written to is empty, whatever name is asked for, and the file does not grow by it."""
    machine.put(1, a={"owner": "x"})
    sql = "SELECT count(*), max(owner) FROM {table}"
    for n in range(2, 50):
        assert ([], [(0, None)]) == (machine.store.rows(0, f"things-{n}"), machine.store.select(0, f"things-{n}", sql))
        assert ({}, []) == (machine.store.get_many(0, f"evil{n}-1", ["a"]), machine.store.record_keys(0, f"no{n}"))
    file = machine.store._files[0]
    made = [name for (name,) in file._db.execute("SELECT name FROM tables")]
    assert {TABLE} <= set(made)
    assert len(made) == len(file._made) == 3  # with one that stays empty for each shape
    machine.put(2, table="things-7", b={"owner": "y"})
    assert [(1, "y")] == machine.store.select(0, "things-7", sql)
