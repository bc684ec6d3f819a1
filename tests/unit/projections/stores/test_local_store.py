"""RocksDB on a real disk: what stands there, which record is the newer one, and what is made again after damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from faust.types import TP

from projections.stores.changelog import PLACE, QUARANTINED, ROW, key_of, prefix_of
from projections.stores.declaration import Indexes
from projections.stores.local.queries import changes, indexed
from projections.stores.local.store import Record, TableError
from projections.stores.rows import Checkpoint, Quarantined
from tests.flat_rows import encoded, flat
from tests.unit.local_machines import INDEXES, TABLE, Changelog, Machine
from tests.unit.sql_machines import row

KEYS = [f"{number:04}" for number in range(500)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
async def closed(machine: Machine) -> Machine:
    """With rows in files, and not open."""
    await machine.put(1, **{key: {"owner": key, "text": key * 500} for key in KEYS})
    machine.flush()
    machine.close()
    return machine


# -- indexes -------------------------------------------------------------------------------------------------

OF_OTHERS = {"others": Indexes({"owner": lambda row: row["owner"]})}


@pytest.mark.parametrize("former", [{}, OF_OTHERS, {"things": Indexes({"former": lambda row: row["owner"]})}])
async def test_an_index_that_is_declared_later(tmp_path: Path, former: dict[str, Indexes], caplog: Any) -> None:
    """Rows are there that have no entries: all is made again from the changelog, once, and the index has them all."""
    before = Machine(tmp_path, indexes=former)
    await before.put(1, **{key: {"owner": "x"} for key in "abc"})
    before.close()
    for _ in range(2):
        machine = Machine(tmp_path, before.changelog)
        machine.recover()
        assert ["a", "b", "c"] == indexed(machine.store, 0, TABLE, "owner", "x", "", 10)
        assert ["a", "b", "c"] == sorted(it.key for it in changes(machine.store, 0, TABLE, (0, 0), 10))
        machine.close()
    [said] = [it.getMessage() for it in caplog.records]
    assert "made again from the changelog" in said
    assert "indexes of things" in said


async def test_an_index_that_was_left_out_for_a_while(tmp_path: Path) -> None:
    """As when a version is rolled back, and forward again: what changed meanwhile is in it."""
    log = Changelog()
    for indexes in (INDEXES, {}, INDEXES):
        machine = Machine(tmp_path, log, indexes)
        machine.recover()
        await machine.put(len(log.records), **{f"{len(log.records)}": {"owner": "x"}})
        machine.close()
    machine = Machine(tmp_path, log)
    machine.recover()
    assert ["0", "2", "4"] == indexed(machine.store, 0, TABLE, "owner", "x", "", 10)


@pytest.mark.parametrize("later", [INDEXES, {}, INDEXES | OF_OTHERS])
async def test_indexes_that_rows_have_already(tmp_path: Path, later: dict[str, Indexes]) -> None:
    """Nothing is made again where each row has its entries, as where a projection is new, or none is wanted."""
    before = Machine(tmp_path)
    await before.put(1, a={"owner": "x"})
    upto = before.read_up_to
    before.close()
    machine = Machine(tmp_path, before.changelog, later)
    assert upto == machine.read_up_to is not None


# -- what stands there -----------------------------------------------------------------------------------


async def test_rows_of_keys(machine: Machine) -> None:
    """Several are read at once, those that were removed too; a key that never had one is left out, and one of another
    table is another."""
    await machine.put(1, a={"owner": "x"}, b={"owner": "y"})
    await machine.put(2, b=None)
    await machine.put(3, table="things-1.1", c={"owner": "z"})
    found = {key: flat(value) for key, value in machine.store.get_many(0, TABLE, ["a", "b", "c"]).items()}
    assert {"a": row(1, owner="x"), "b": row(2, gone=True)} == found
    assert {} == machine.store.get_many(0, TABLE, []) == machine.store.get_many(1, TABLE, ["a"])


async def test_places_of_tables(machine: Machine) -> None:
    """Each table that has something here says how far it is, whatever stands between them."""
    assert {} == machine.store.places(0)
    for nr, table in enumerate(("things-1", "things-1.1", "things-10", "thing-1"), 1):
        await machine.put(nr, table=table, **{key: {"owner": "x"} for key in ("", "a", "\x7f", "é")})
    assert {
        "things-1": Checkpoint(1, 0, 1, 1),
        "things-1.1": Checkpoint(2, 0, 2, 2),
        "things-10": Checkpoint(3, 0, 3, 3),
        "thing-1": Checkpoint(4, 0, 4, 4),
    } == machine.store.places(0)
    assert {} == machine.store.places(1)


async def test_keys_in_quarantine(machine: Machine) -> None:
    """Those whose events wait, and no longer."""
    one, other = Quarantined("type-0:1:0", "no price", 2, "type-0:2:0"), Quarantined("type-0:2:0", "no price", 1)
    await machine.put(2, held={"a": one, "b": other})
    await machine.put(2, table="things-1.1", held={"c": one})
    assert {"a": one, "b": other} == machine.store.quarantined(0, TABLE)
    await machine.put(3, held={"a": Quarantined("type-0:3:0", "", 0)})
    assert {"b": other} == machine.store.quarantined(0, TABLE)


async def test_records_in_the_order_of_their_keys(machine: Machine) -> None:
    """Those that begin alike, from any of them on, and none of Faust's own."""
    await machine.put(1, **{key: {"owner": "x"} for key in ("é", "b", "a", "ab")})
    prefix = prefix_of(TABLE, ROW)
    found = [key.removeprefix(prefix).decode() for key, _ in machine.store.items(0, prefix)]
    assert ["a", "ab", "b", "é"] == found
    assert ["b", "é"] == [
        key.removeprefix(prefix).decode() for key, _ in machine.store.items(0, prefix, key_of(TABLE, ROW, "ac"))
    ]
    assert {TABLE.encode()} == {key.partition(b"\0")[0] for key in machine.all()}


# -- partitions in one database --------------------------------------------------------------------------


async def test_partitions_do_not_see_one_another(machine: Machine) -> None:
    """Each has its own rows under the same keys, its own scan, its own place in the changelog."""
    others, rows = (1, 2, 255, 256, 4_095), prefix_of(TABLE, ROW)
    for partition in others:
        machine.store.write(partition, [a_row("a", partition)], 0)
    assert {} == dict(machine.store.items(0, b"")) == machine.store.get_many(0, TABLE, ["a"])
    machine.store.write(255, [a_row("b", 1)], 1)
    machine.store.write(255, [(a_row("a", 255)[0], None)], 2)
    for partition in others:
        row, offset = (a_row("b", 1), 2) if partition == 255 else (a_row("a", partition), 0)
        assert [row] == list(machine.store.items(partition, rows))
        assert row[1] == machine.store.get(partition, row[0])
        assert offset == machine.store.persisted_offset(TP(machine.rows.changelog, partition))


async def test_folders_of_a_former_version_are_removed(machine: Machine) -> None:
    """Once each partition had one; what stood there comes from the changelog. What another table has stays, also of a
    type whose name begins alike."""
    former, another = machine.path.with_name("type-rows-3.db"), machine.path.with_name("type-rows-rows.db")
    former.mkdir(parents=True)
    another.mkdir()
    machine.recover()
    await machine.put(1, a={"owner": "x"})
    assert (True, False, True) == (machine.path.exists(), former.exists(), another.exists())


# -- which record is the newer one -----------------------------------------------------------------------


def a_row(key: str, nr: int, index: int = 0) -> Record:
    return key_of(TABLE, ROW, key), encoded(owner="x", position=f"type-0:{nr}:{index}")


def a_place(nr: int, index: int = 0) -> Record:
    return key_of(TABLE, PLACE), msgspec.json.encode(Checkpoint(nr, index, nr))


def waiting(nr: int, events: int, last: int) -> Record:
    quarantined = Quarantined(f"type-0:{nr}:0", "no price", events, f"type-0:{last}:0")
    return key_of(TABLE, QUARANTINED, "q"), msgspec.json.encode(quarantined)


LATE = [
    pytest.param([a_row("a", 9, 2), a_row("a", 9, 1)], 0, id="a row"),
    pytest.param([a_row("a", 3), a_row("a", 10)], 1, id="a newer row"),
    pytest.param([a_row("a", 3), (key_of(TABLE, ROW, "a"), encoded(owner="y", position="type-0:3:0"))], 1, id="same"),
    pytest.param([a_row("a", 3), (key_of(TABLE, ROW, "a"), None)], None, id="a removed row"),
    pytest.param([a_row("a", 9), (key_of(TABLE, ROW, "a"), None), a_row("a", 1)], 2, id="built anew"),
    pytest.param([a_place(12), a_place(9), a_place(9, 4)], 0, id="a place"),
    pytest.param([a_place(9, 1), a_place(10)], 1, id="a newer place"),
    pytest.param([waiting(2, 3, 7), waiting(2, 2, 5)], 0, id="fewer wait"),
    pytest.param([waiting(2, 3, 7), waiting(7, 0, 7)], 1, id="none waits"),
    pytest.param([waiting(7, 0, 7), waiting(2, 3, 7)], 0, id="released"),
]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("records", "stands"), LATE)
def test_a_late_change_is_not_newer(
    machine: Machine, records: list[Record], stands: int | None, together: bool
) -> None:
    """What a replaced worker wrote behind its successor changes nothing, neither within what is recovered at once nor
    later; the same again, something newer, and a removal do."""
    machine.changelog.records = records
    machine.recover(at_once=10 if together else 1)
    key = records[0][0]
    assert (None if stands is None else records[stands][1]) == machine.store.get(0, key)
    assert len(records) - 1 == machine.read_up_to


# -- damage ----------------------------------------------------------------------------------------------


def damage(machine: Machine, pattern: str) -> None:
    """Overwrite bytes amid the files of the partition."""
    files = list(machine.path.glob(pattern))
    assert files
    for file in files:
        with file.open("r+b") as content:
            content.seek(file.stat().st_size // 2)
            content.write(b"\xff" * 200)


@pytest.mark.parametrize("pattern", ["MANIFEST-*", "CURRENT"])
async def test_partition_that_cannot_be_opened_is_empty(closed: Machine, pattern: str) -> None:
    """It is removed when it is opened, so that recovery begins at the beginning and makes it again."""
    damage(closed, pattern)
    assert (None, {}, {}) == (closed.read_up_to, closed.store.places(0), closed.all())
    closed.recover()
    assert (len(KEYS), 0) == (len(closed.store.get_many(0, TABLE, KEYS)), closed.consumer.rejoined)
    assert len(KEYS) == closed.read_up_to


async def test_damaged_rows_are_no_answer(closed: Machine) -> None:
    """Reading a damaged block, alone, with others or in a scan, raises; the partition is out of service and a rebalance
    asked for, once; in its course the folder is removed, and made again from the changelog."""
    damage(closed, "*.sst")
    assert closed.read_up_to == len(KEYS)
    with pytest.raises(TableError):
        [closed.store.get(0, key_of(TABLE, ROW, key)) for key in KEYS]
    with pytest.raises(TableError):
        closed.store.get_many(0, TABLE, KEYS)
    with pytest.raises(TableError):
        list(closed.store.items(0, prefix_of(TABLE)))
    assert (True, 1) == (closed.rows.is_damaged, closed.consumer.rejoined)
    closed.changelog.records.append(a_row("new", 2))
    closed.recover()  # as a standby that has not noticed: nothing is written
    assert len(KEYS) == closed.read_up_to
    closed.rows.remove_damaged()
    assert (False, False) == (closed.rows.is_damaged, closed.path.exists())
    closed.recover()
    assert len(KEYS) + 1 == len(closed.store.get_many(0, TABLE, [*KEYS, "new"]))


async def test_damage_is_that_of_all_partitions(machine: Machine) -> None:
    """They have files together: all are out of service, and made again; each begins at the beginning."""
    await machine.put(1, **{key: {"owner": key, "text": key * 500} for key in KEYS})
    machine.store.write(1, [a_row("a", 1)], 0)
    machine.flush()
    machine.close()
    other = TP(machine.rows.changelog, 1)
    assert 0 == machine.store.persisted_offset(other)
    damage(machine, "*.sst")
    assert len(KEYS) == machine.read_up_to
    with pytest.raises(TableError):
        list(machine.store.items(0, prefix_of(TABLE)))
    assert ({0, 1}, 1) == (machine.store.damaged, machine.consumer.rejoined)
    machine.rows.remove_damaged()
    assert (None, None) == (machine.read_up_to, machine.store.persisted_offset(other))


async def test_a_partition_that_is_opened_among_damaged_ones(closed: Machine) -> None:
    """As in a rebalance that goes on: its rows go with the files, so it begins at the beginning, too."""
    damage(closed, "*.sst")
    assert closed.read_up_to == len(KEYS)
    with pytest.raises(TableError):
        list(closed.store.items(0, prefix_of(TABLE)))
    closed.store.write(1, [a_row("a", 1)], 0)
    other, recovery = TP(closed.rows.changelog, 1), closed.app.tables.recovery
    recovery.active_offsets[other] = closed.store.persisted_offset(other)
    closed.rows.remove_damaged()
    assert (None, None) == (closed.store.persisted_offset(other), recovery.active_offsets.get(other))


async def test_damage_shows_when_a_recovery_begins(closed: Machine) -> None:
    """Where the offset cannot be read that a recovery begins behind, it begins at the beginning, in a rebalance."""
    for file in closed.path.glob("*.sst"):
        with file.open("r+b") as content:
            content.seek(20)
            content.write(b"\xff" * 20)
    assert (None, {0}, 1) == (closed.read_up_to, closed.store.damaged, closed.consumer.rejoined)
    closed.rows.remove_damaged()
    closed.recover()
    assert len(KEYS) == len(closed.store.get_many(0, TABLE, KEYS))


async def test_damage_shows_when_rows_are_written(closed: Machine) -> None:
    """The rows that they replace are read for the indexes."""
    damage(closed, "*.sst")
    with pytest.raises(TableError):
        closed.store.write(0, [a_row(key, 2) for key in KEYS], len(closed.changelog.records))
    assert (True, 1) == (closed.rows.is_damaged, closed.consumer.rejoined)


def test_full_disk_is_no_damage(machine: Machine) -> None:
    """What has no room now keeps what it has."""
    machine.store.failed(0, Exception("IO error: No space left on device: While appending to file: 000016.log"))
    assert (False, 0) == (machine.rows.is_damaged, machine.consumer.rejoined)
