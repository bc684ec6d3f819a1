"""RocksDB on a real disk: what is damaged is noticed, and made again."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from projections.local_store import LocalStore, TableError
from projections.tables import Table
from streams.faust_app import Application
from streams.settings import Settings

ROWS = {b"%04d" % number: b"%04d" % number * 500 for number in range(500)}


class Consumer:
    """Counts how often a rebalance was asked for."""

    def __init__(self) -> None:
        self.rejoined = 0

    def rejoin(self) -> None:
        self.rejoined += 1


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A table with rows in partition 0, in files, and closed."""
    app = Application("test", "projections", Settings(partitions=1), store="local://", datadir=str(tmp_path))
    app._consumer = Consumer()
    table = Table(app, "rows")
    table.write(0, ROWS, 0)
    store(table)._dbs[0].flush()
    close(table)
    return table


def store(table: Table) -> LocalStore:
    found: Any = table._store
    return found


def close(table: Table) -> None:
    store(table)._dbs.clear()
    gc.collect()


def damage(table: Table, pattern: str) -> None:
    """Overwrite bytes amid the files of partition 0."""
    files = list(store(table).partition_path(0).glob(pattern))
    assert files
    for file in files:
        with file.open("r+b") as content:
            content.seek(file.stat().st_size // 2)
            content.write(b"\xff" * 200)


def rejoined(table: Table) -> int:
    return int(store(table).app.consumer.rejoined)


@pytest.mark.parametrize("pattern", ["MANIFEST-*", "CURRENT"])
def test_partition_that_cannot_be_opened_is_empty(table: Table, pattern: str) -> None:
    """It is removed when it is opened, so that recovery begins at the beginning, and can be written again."""
    damage(table, pattern)
    store(table)._db_for_partition(0)
    assert (None, None) == (table.get(0, b"0001"), store(table).persisted_offset(SimpleNamespace(partition=0)))
    table.write(0, ROWS, 0)
    assert len(ROWS) == len(list(table.scan(0)))


def test_damaged_rows_are_no_answer(table: Table) -> None:
    """Reading a damaged block, alone or in a scan, raises; the table is out of service and a rebalance asked for, once,
    and in its course the partition is removed."""
    damage(table, "*.sst")
    store(table)._db_for_partition(0)
    with pytest.raises(TableError):
        [table.get(0, key) for key in ROWS]
    with pytest.raises(TableError):
        list(table.scan(0))
    assert (True, 1) == (table.is_damaged, rejoined(table))
    table.remove_damaged()
    assert (False, False) == (table.is_damaged, store(table).partition_path(0).exists())


def test_full_disk_is_no_damage(table: Table) -> None:
    """What has no room now keeps what it has."""
    store(table)._db_for_partition(0)
    store(table).failed(0, Exception("IO error: No space left on device: While appending to file: 000016.log"))
    assert (False, 0) == (table.is_damaged, rejoined(table))


def changes(*rows: tuple[bytes, bytes | None]) -> list[Any]:
    """Records of the changelog of partition 0."""
    return [
        SimpleNamespace(message=SimpleNamespace(tp=TP("rows", 0), partition=0, offset=offset, key=key, value=value))
        for offset, (key, value) in enumerate(rows)
    ]


def row(nr: int, index: int = 0) -> bytes:
    return b'{"total":"1.00","position":"order-0:%d:%d"}' % (nr, index)


@pytest.mark.parametrize("together", [True, False])
def test_a_late_change_is_not_newer(table: Table, together: bool) -> None:
    """What a replaced worker wrote behind its successor changes nothing, neither within what is recovered at once nor
    later; the same row again, a newer one, and a removed one do."""
    late = changes((b"a", row(9, 2)), (b"a", row(9, 1)), (b"b", row(3)), (b"b", row(10)), (b"c", row(1)), (b"c", None))
    for batch in [late] if together else [[change] for change in late]:
        store(table).apply_changelog_batch(batch, bytes, bytes)
    assert [row(9, 2), row(10), None] == [table.get(0, key) for key in (b"a", b"b", b"c")]


def test_a_late_position_is_not_newer(table: Table) -> None:
    """Likewise how far a stream was applied."""
    store(table).apply_changelog_batch(changes((b"order-0", b"12"), (b"order-0", b"9")), bytes, bytes)
    assert b"12" == table.get(0, b"order-0")
