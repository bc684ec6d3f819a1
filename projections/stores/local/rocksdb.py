"""RocksDB beneath Faust's tables: the rows of all partitions that a worker has, and the entries of their indexes."""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from faust.stores import rocksdb
from faust.types import TP

from projections.stores.changelog import (
    PLACE,
    QUARANTINED,
    ROW,
    decode_place,
    decode_quarantined,
    is_newer,
    key_of,
    ours,
    prefix_of,
    read_key,
)
from projections.stores.declaration import Indexes, projection_name
from projections.stores.local.indexes import IndexWriter, entries_written
from projections.stores.local.partition_view import PartitionView
from projections.stores.local.store import NO_SPACE, LocalStore, Record, read_up_to
from projections.stores.rows import Changes, Checkpoint, Quarantined

Item = tuple[bytes, bytes]

_DAMAGE = ("Corruption", "No such file or directory", "Input/output error")
"""Words in RocksDB's messages about damage; rocksdict has no types for such errors."""
_FAUST_KEYS = b"__faust"
_ENTRIES = b"i"
"""The key of what `entries_written` says: shorter than any of a partition."""


class IndexesDiffer(Exception):
    """Rows stand here without entries that are wanted now."""


class RocksDBStore(LocalStore, rocksdb.Store):  # type: ignore[misc]
    """Keys and values are those of the changelog (`stores/changelog.py`); beside them stand the entries of indexes.

    `indexes` has the indexes of rows by projection. All partitions are in one database: see `partition_view`. Damage is
    damage to all of them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.indexes: Mapping[str, Indexes] = self.options.get("indexes", {})
        self.database: Any = None
        """While it is open."""

    # -- reading: a partition that this worker does not have is empty. All methods raise `TableError`. --------

    def opened(self, partition: int) -> PartitionView | None:
        """An open partition, None where it is closed; another object after it was closed meanwhile."""
        opened: PartitionView | None = self._dbs.get(partition)
        return opened

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The bytes under a key."""
        db = self.opened(partition)
        try:
            return None if db is None else db.get(key)
        except Exception as error:
            raise self.failed(partition, error) from None

    def get_many(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, bytes]:
        """The rows of a table under these keys, as they are stored."""
        db = self.opened(partition)
        if db is None or not keys:
            return {}
        prefix = prefix_of(table, ROW)
        try:
            values = db.get_many([prefix + key.encode() for key in keys])
        except Exception as error:
            raise self.failed(partition, error) from None
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    def places(self, partition: int) -> Mapping[str, Checkpoint]:
        """The checkpoints of the tables that have anything here."""
        found = {table: self.get(partition, key_of(table, PLACE)) for table in _tables(partial(self.items, partition))}
        return {table: decode_place(place) for table, place in found.items() if place is not None}

    def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        """The keys of a table whose events wait."""
        by_key = {
            read_key(key).key: decode_quarantined(value)
            for key, value in self.items(partition, prefix_of(table, QUARANTINED))
        }
        return {key: quarantined for key, quarantined in by_key.items() if quarantined.events}

    def record_keys(self, partition: int, table: str) -> list[bytes]:
        """The keys of all records of a table on the changelog, in the order in which to remove them: a quarantine is
        removed before its row."""
        kinds = (QUARANTINED, ROW, PLACE)
        return [key for kind in kinds for key, _ in self.items(partition, prefix_of(table, kind))]

    def items(self, partition: int, prefix: bytes, start: bytes = b"") -> Iterator[Item]:
        """The keys with a prefix, from `start` on, in order, and their values. Not to be held over an await."""
        db = self.opened(partition)
        if db is None:
            return
        try:
            yield from _own_items(db, prefix, start)
        except Exception as error:
            raise self.failed(partition, error) from None

    # -- writing ----------------------------------------------------------------------------------------

    def write(
        self, partition: int, records: Sequence[Record], offset: int, changes: Mapping[str, Changes] | None = None
    ) -> None:
        """Write records that are on the changelog up to `offset`; a record without a value removes its key.

        All or nothing, with the offset from which a recovery goes on. `changes` are the changes that the records were
        made of, if they were made of any. Raises `TableError`.
        """
        try:
            db = self._db_for_partition(partition)
            known = read_up_to(int(db.get(self.offset_key) or b"-1"), len(records), offset)
            self._write(db, records, known, changes or {})
        except Exception as error:
            raise self.failed(partition, error) from None

    def _write(self, db: PartitionView, records: Iterable[Record], known: int, changes: Mapping[str, Changes]) -> None:
        batch = db.batch()
        indexes = IndexWriter(db.get, batch, self.indexes)
        for name, change in changes.items():
            if indexes.wants(name):  # both rows are at hand, and need not be read and decoded again
                for row_key, row in change.rows.items():
                    indexes.change(name, row_key, change.before.get(row_key), row)
        for key, value in records:
            table, _, rest = key.partition(b"\0")
            if not changes and rest.startswith(ROW) and indexes.wants(table.decode()):
                indexes.record(key, value)
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        indexes.finish()
        batch.put(self.offset_key, b"%d" % known)
        db.write(batch)

    # -- what Faust calls ---------------------------------------------------------------------------------

    def _open_for_partition(self, partition: int) -> PartitionView:
        if self.database is None:
            self.database = self.opened_or_remade(partition, self._open_database)
        return PartitionView(self.database, partition)

    def _open_database(self) -> Any:
        begin, end = f"{self.basename}-", self.database_path.suffix
        for former in self.database_path.parent.glob(f"{begin}*{end}"):  # once, each partition had its own
            if former.name.removeprefix(begin).removesuffix(end).isdecimal():  # else it is that of another table
                shutil.rmtree(former, ignore_errors=True)
        database = self.rocksdb_options.open(self.database_path)
        try:
            self._check_indexes(database)
        except Exception:
            database.close()
            raise
        return database

    def _check_indexes(self, database: Any) -> None:
        """Raises `IndexesDiffer`: an index is declared that rows here were written without, be it that it is new or
        that it was left out for a while. From the changelog, which has none, all of them come anew."""
        wanted, written = entries_written(self.indexes), json.loads(database.get(_ENTRIES) or b"{}")
        if wanted == written:
            return
        new = {name for name, entries in wanted.items() if entries != written.get(name)}
        for partition in range(self.app.settings.partitions) if new else ():
            items = partial(_own_items, PartitionView(database, partition))
            if lacking := new.intersection(map(projection_name, _tables(items))):
                raise IndexesDiffer(f"rows are without indexes of {', '.join(sorted(lacking))} that the code has now")
        database.put(_ENTRIES, json.dumps(wanted).encode())

    @property
    def database_path(self) -> Path:
        """The folder of the database."""
        path: Path = self._path_with_suffix(self.path / self.basename)
        return path

    def persisted_offset(self, tp: TP) -> int | None:
        """The offset of the changelog behind which a recovery begins. Damage that shows here ends no worker."""
        try:
            offset: int | None = super().persisted_offset(tp)
        except Exception as error:
            failed = self.failed(tp.partition, error)
            if tp.partition not in self.damaged:
                raise failed from None
            return None
        return offset

    async def stop(self) -> None:
        self.close()

    def close(self) -> None:
        """Have nothing open any more. What still reads a row keeps its files open."""
        self._dbs.clear()
        self.database = None
        gc.collect()

    def recover(self, partition: int, records: Iterable[Record], offset: int) -> None:
        db = self._db_for_partition(partition)
        self._write(db, self._newer(db, records), offset, {})

    def _newer(self, db: PartitionView, records: Iterable[Record]) -> Iterator[Record]:
        here: dict[bytes, bytes | None] = {}
        for key, value in ours(records, self.table_name):
            present = here[key] if key in here else db.get(key)
            here[key] = value if is_newer(read_key(key).kind, value, present) else present
            if here[key] is value:
                yield key, value

    # -- damage -------------------------------------------------------------------------------------------

    def is_damage(self, error: Exception) -> bool:
        return isinstance(error, IndexesDiffer) or any(words in str(error) for words in _DAMAGE)

    def is_without_room(self, error: Exception) -> bool:
        return NO_SPACE in str(error)

    def damaged_with(self, partition: int) -> set[int]:
        return {partition, *self._dbs}

    def remove_files(self, partition: int) -> None:
        if self.database is None and not self.database_path.exists():
            return  # it was removed for another partition
        if self.database is not None:
            with contextlib.suppress(Exception):  # it may have no way left to write what it has in memory
                self.database.close()
        self.close()  # an iterator over rows has the database open as well
        shutil.rmtree(self.database_path, ignore_errors=True)


def _own_items(db: PartitionView, prefix: bytes, start: bytes = b"") -> Iterator[Item]:
    return (item for item in db.items(prefix, start) if not item[0].startswith(_FAUST_KEYS))


def _tables(items: Callable[[bytes, bytes], Iterator[Item]]) -> Iterator[str]:
    """The tables that have anything in a partition with these `items`."""
    start = b""
    # From table to table: all keys between two tables' first ones are jumped over.
    while (record := next(items(b"", start), None)) is not None:
        table = read_key(record[0]).table
        yield table
        start = table.encode() + b"\1"
