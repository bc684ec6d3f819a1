"""The indexes of rows in RocksDB. Entries stand beside the rows and change in the same write; they are not on the
changelog, since they follow from the rows.
"""

from __future__ import annotations

import logging
import struct
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from projections.projection import Row
from projections.stores.changelog import prefix_of, read_key
from projections.stores.declaration import Indexes, projection_name
from projections.stores.rows import StoredRow, decode_stored
from streams.journal.position import Place

log = logging.getLogger(__name__)

ENTRY, COUNT, CHANGE = b"i", b"c", b"n"
_END = b"\0"
_place = struct.Struct(">QI")


def index_prefix(table: str, index: str) -> bytes:
    """The beginning of all entries of an index; the value and a byte 0 follow."""
    return prefix_of(table, ENTRY) + index.encode() + _END


def entry_prefix(table: str, index: str, value: str) -> bytes:
    """The beginning of the entries of an index under one value; the row's key follows."""
    return index_prefix(table, index) + value.encode() + _END


def count_prefix(table: str, index: str) -> bytes:
    """The beginning of all counts of an index; the counted value follows."""
    return prefix_of(table, COUNT) + index.encode() + _END


def change_key(table: str, at: Place) -> bytes:
    """The beginning of the entry of a row that changed at this commit number and index; the row's key follows."""
    return prefix_of(table, CHANGE) + _place.pack(at[0], at[1] + 1)


def read_change(table: str, entry: bytes) -> tuple[Place, str]:
    """The opposite: commit number and index, and the key of the row."""
    start = len(prefix_of(table, CHANGE))
    nr, index = _place.unpack_from(entry, start)
    return (nr, index - 1), entry[start + _place.size :].decode()


def entries_written(indexes: Mapping[str, Indexes]) -> dict[str, Any]:
    """Which entries are written for each projection: what stands beside them, as JSON, and is compared when they are
    opened again. How a value follows from a row is not in it: who changes that makes a new version of the projection.
    """
    wanted = {name: of for name, of in indexes.items() if of.values or of.changes}
    return {name: {"values": sorted(of.values), "changes": of.changes} for name, of in sorted(wanted.items())}


class IndexWriter:
    """Puts the changes of index entries into a write batch.

    `get` reads from the database, and `indexes` has the indexes by projection.
    """

    def __init__(self, get: Any, batch: Any, indexes: Mapping[str, Indexes]) -> None:
        self._get = get
        self._batch = batch
        self._indexes = indexes
        self._written: dict[bytes, StoredRow | None] = {}
        self._counted: defaultdict[bytes, int] = defaultdict(int)

    def wants(self, table: str) -> bool:
        """Whether rows of this table have indexes at all."""
        return projection_name(table) in self._indexes

    def record(self, record_key: bytes, value: bytes | None) -> None:
        """Index a record of a row that is about to be written, or removed."""
        table, _, key = read_key(record_key)
        if record_key in self._written:
            present = self._written[record_key]
        else:
            value_there = self._get(record_key)
            present = None if value_there is None else decode_stored(value_there)
        row = self._written[record_key] = None if value is None else decode_stored(value)
        self.change(table, key, present, row)

    def change(self, table: str, key: str, present: StoredRow | None, row: StoredRow | None) -> None:
        """Index a row that takes the place of the `present` one; None stands for no row."""
        indexes, encoded = self._indexes[projection_name(table)], key.encode()
        if indexes.changes:
            if present is not None:
                self._batch.delete(change_key(table, present.at) + encoded)
            if row is not None:
                self._batch.put(change_key(table, row.at) + encoded, b"")
        for name, of in indexes.values.items():
            before, after = _value(name, of, present), _value(name, of, row)
            if before == after:
                continue
            if before is not None:
                self._batch.delete(entry_prefix(table, name, before) + encoded)
                self._counted[count_prefix(table, name) + before.encode()] -= 1
            if after is not None:
                self._batch.put(entry_prefix(table, name, after) + encoded, b"")
                self._counted[count_prefix(table, name) + after.encode()] += 1

    def finish(self) -> None:
        """Write the counts, after all changes of the batch."""
        for key, by in self._counted.items():
            count = int(self._get(key) or b"0") + by
            if count:
                self._batch.put(key, b"%d" % count)
            else:
                self._batch.delete(key)  # nothing is left of a table that is dropped


def value_of(name: str, of: Callable[[Row], str | None], row: Row | None) -> str | None:
    """The value of a row in an index, None where it has none."""
    if row is None:
        return None
    try:
        return of(row)
    except Exception as error:  # a row of another version of the projection may lack what this one looks at
        log.debug("a row is not in the index %s: %r", name, error)
        return None


def _value(name: str, of: Callable[[Row], str | None], stored: StoredRow | None) -> str | None:
    return None if stored is None else value_of(name, of, stored.row)
