"""SQLite on a real disk: what is damaged is noticed, and made again; a full disk is no damage."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from projections.stores.changelog import ROW, key_of
from projections.stores.local.store import NO_SPACE_STATUS, TableError
from tests.flat_rows import encoded
from tests.unit.sql_machines import TABLE, Machine, row

KEYS = [f"{number:04}" for number in range(500)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A table with rows in partition 0, all of it in the file, and closed."""
    machine = Machine(tmp_path)
    machine.put(1, **{key: {"owner": key, "text": key * 200} for key in KEYS})
    machine.close()
    return machine


def damage(path: Path, at: float, size: int = 200) -> None:
    """Overwrite bytes of a file."""
    with path.open("r+b") as content:
        content.seek(int(path.stat().st_size * at))
        content.write(b"\xff" * size)


@pytest.mark.parametrize("how", ["no SQLite file", "damaged first page", "of another layout"])
def test_partition_that_cannot_be_opened_is_empty(machine: Machine, how: str) -> None:
    """It is removed when it is opened, so that recovery begins at the beginning and makes it again."""
    if how == "no SQLite file":
        machine.path.write_bytes(b"x" * 10_000)
    elif how == "damaged first page":
        damage(machine.path, 0, 4_000)
    else:
        db = sqlite3.connect(machine.path)
        db.execute("PRAGMA user_version=99")
        db.close()
    assert (None, {}) == (machine.read_up_to, machine.store.places(0))
    machine.recover()
    assert (None, len(KEYS)) == (machine.rows("none")[0], len(machine.store.get_many(0, TABLE, KEYS)))
    assert (0, len(KEYS)) == (machine.consumer.rejoined, machine.read_up_to)


@pytest.mark.parametrize("size", [1, 200])
def test_damaged_rows_are_no_answer(machine: Machine, size: int) -> None:
    """Reading a damaged row, alone or with others, raises, be it one byte; the partition is out of service and a
    rebalance asked for, once; in its course the file is removed, and made again from the changelog."""
    damage(machine.path, 0.5, size)
    with pytest.raises(TableError):
        machine.store.get_many(0, TABLE, KEYS)
    with pytest.raises(TableError):
        machine.store.rows(0, TABLE)
    with pytest.raises(TableError):
        machine.put(2, a={})
    machine.recover()  # as a standby that has not noticed: nothing is written
    assert ({0}, 1, None) == (machine.store.damaged, machine.consumer.rejoined, machine.read_up_to)
    machine.store.remove_damaged()
    assert (set(), False) == (machine.store.damaged, machine.path.exists())
    machine.recover()
    assert len(KEYS) == len(machine.store.get_many(0, TABLE, KEYS))
    assert [row(2)] == machine.rows("a")


@pytest.mark.parametrize("at", [0.1, 0.3, 0.6, 0.9])
def test_damage_anywhere_is_no_wrong_row(machine: Machine, at: float) -> None:
    """Whichever page is damaged, a row that is answered is as it was written."""
    damage(machine.path, at, 4_096)
    for key in KEYS:
        try:
            found = machine.store.get_many(0, TABLE, [key])
        except TableError:
            continue
        if key in found:
            assert key * 200 in found[key].decode()
    assert ({0}, 1) == (machine.store.damaged, machine.consumer.rejoined)


def test_damage_while_recovering(machine: Machine) -> None:
    """What cannot be written for damage while a changelog is read is out of service, and Faust reads on."""
    assert machine.read_up_to
    damage(machine.path, 0.1, 300_000)
    machine.changelog += [(key, value) for key, value in machine.changelog if value]
    machine.recover()
    assert ({0}, 1) == (machine.store.damaged, machine.consumer.rejoined)


def test_full_disk_is_no_damage(machine: Machine) -> None:
    """What has no room now is not written, its offset neither, and what is there can be read; with room it goes on."""
    before = machine.read_up_to
    with machine.store._file(0) as file:
        file._db.execute("PRAGMA max_page_count=1")
    for _ in range(2):
        with pytest.raises(TableError, match="full"):
            machine.put(2, **{key: {"text": "x" * 9_000} for key in KEYS})
    assert (set(), 0, before) == (machine.store.damaged, machine.consumer.rejoined, machine.read_up_to)
    assert len(KEYS) == len(machine.store.get_many(0, TABLE, KEYS))
    with machine.store._file(0) as file:
        file._db.execute("PRAGMA max_page_count=1000000")
    machine.recover()
    assert [row(2, text="x" * 9_000)] == machine.rows(KEYS[-1])


def test_no_room_to_recover_ends_the_worker(machine: Machine) -> None:
    """Where there is no room to recover a table the worker says so, and ends."""
    script = (
        "import sys; from tests.unit.projections.stores.test_sqlite_damage import "
        "recover_without_room as r; r(sys.argv[1])"
    )
    folder = machine.store.app.settings.data_dir
    ended = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (NO_SPACE_STATUS, True) == (ended.returncode, "make room, then start again" in ended.stderr)


def recover_without_room(folder: str) -> None:
    """Recover more than there is room for."""
    machine = Machine(Path(folder))
    with machine.store._file(0) as file:
        file._db.execute("PRAGMA max_page_count=1")
    value = encoded(text="x" * 1_000_000, position="type-0:9:0")
    message = SimpleNamespace(tp=machine.tp, partition=0, offset=600, key=key_of(TABLE, ROW, "key"), value=value)
    machine.store.apply_changelog_batch([SimpleNamespace(message=message)], None, None)
