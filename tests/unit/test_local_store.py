"""RocksDB on a real disk: what is damaged is noticed, and made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from projections import queries
from projections.changelog import PLACE, ROW, key_of
from projections.local_store import NO_SPACE, Record, TableError
from tests.unit.machines import Changelog, Machine

TABLE = "things-1"
KEYS = [f"{number:04d}" for number in range(500)]
ROWS: list[Record] = [
    (key_of(TABLE, ROW, key), b'{"colour":"%s","position":"thing-0:1:0"}' % (key.encode() * 500)) for key in KEYS
]
RECORDS = [*ROWS, (key_of(TABLE, PLACE), b'{"nr":1,"index":0,"complete":1,"offset":1}')]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Tables with rows in partition 0, in files, and closed."""
    machine = Machine(tmp_path, Changelog(), indexes={})
    machine.store.write(0, RECORDS, len(RECORDS) - 1)
    machine.store._dbs[0].flush()
    machine.close()
    return machine


def damage(machine: Machine, pattern: str) -> None:
    """Overwrite bytes amid the files of partition 0."""
    files = list(machine.store.partition_path(0).glob(pattern))
    assert files
    for file in files:
        with file.open("r+b") as content:
            content.seek(file.stat().st_size // 2)
            content.write(b"\xff" * 200)


@pytest.mark.parametrize("pattern", ["MANIFEST-*", "CURRENT"])
async def test_partition_that_cannot_be_opened_is_empty(machine: Machine, pattern: str) -> None:
    """It is removed when it is opened, so that recovery begins at the beginning, and can be written again."""
    damage(machine, pattern)
    machine.store._db_for_partition(0)
    assert (None, {}, -1) == (
        queries.row(machine.store, 0, TABLE, "0001"),
        await machine.rows.places(0),
        machine.read_up_to,
    )
    machine.store.write(0, RECORDS, len(RECORDS) - 1)
    assert len(ROWS) == len(list(queries.scan(machine.store, 0, TABLE)))


async def test_damaged_rows_are_no_answer(machine: Machine) -> None:
    """Reading a damaged block, alone, with others or in a scan, raises; the tables are out of service and a rebalance
    asked for, once, and in its course the partition is removed."""
    damage(machine, "*.sst")
    machine.store._db_for_partition(0)
    with pytest.raises(TableError):
        [queries.row(machine.store, 0, TABLE, key) for key in KEYS]
    with pytest.raises(TableError):
        await machine.rows.load(0, TABLE, KEYS)
    with pytest.raises(TableError):
        list(queries.scan(machine.store, 0, TABLE))
    assert (True, 1) == (machine.rows.is_damaged, machine.consumer.rejoined)
    machine.rows.remove_damaged()
    assert (False, False) == (machine.rows.is_damaged, machine.store.partition_path(0).exists())


def test_full_disk_is_no_damage(machine: Machine) -> None:
    """What has no room now keeps what it has."""
    machine.store._db_for_partition(0)
    machine.store.failed(0, Exception(f"IO error: {NO_SPACE}: While appending to file: 000016.log"))
    assert (False, 0) == (machine.rows.is_damaged, machine.consumer.rejoined)


def test_a_partition_that_is_not_here_has_nothing(machine: Machine) -> None:
    """Whoever asks for it is told so, and it is not made."""
    assert ({}, {}, None, []) == (
        machine.store.places(7),
        machine.store.get_many(7, TABLE, KEYS),
        machine.store.get(7, ROWS[0][0]),
        list(machine.store.items(7, b"")),
    )
    assert not machine.store.partition_path(7).exists()


def row(nr: int, index: int = 0) -> bytes:
    return b'{"total":"1.00","position":"thing-0:%d:%d"}' % (nr, index)


@pytest.mark.parametrize("together", [True, False])
async def test_a_late_change_is_not_newer(tmp_path: Path, together: bool) -> None:
    """What a replaced worker wrote behind its successor changes nothing, neither within what is recovered at once nor
    later; the same row again, a newer one, and a removed one do. Likewise the place of a table."""
    changelog = Changelog()
    machine = Machine(tmp_path, changelog)
    late = [("a", row(9, 2)), ("a", row(9, 1)), ("b", row(3)), ("b", row(10)), ("c", row(1)), ("c", None)]
    records = [(key_of(TABLE, ROW, key), value) for key, value in late]
    records += [(key_of(TABLE, PLACE), b'{"nr":%d,"index":0}' % nr) for nr in (12, 9)]
    for record in records:
        changelog.records.append(record)
        if not together:
            machine.recover()
    machine.recover()
    found = {key: machine.store.get(0, key_of(TABLE, ROW, key)) for key in "abc"}
    assert {"a": row(9, 2), "b": row(10), "c": None} == found
    assert 12 == (await machine.rows.places(0))[TABLE].nr
