"""What a row in RocksDB is found by besides its key. Index entries stand beside the rows and change with them, in the
same write; they are not on the changelog, since they follow from the rows.
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
    """What the entries of an index begin with; the value follows, and a byte 0."""
    return prefix_of(table, ENTRY) + index.encode() + _END


def entry_prefix(table: str, index: str, value: str) -> bytes:
    """What the entries of an index under one value begin with; the row's key follows."""
    return index_prefix(table, index) + value.encode() + _END


def count_prefix(table: str, index: str) -> bytes:
    """What the counts of an index begin with; the value that was counted follows."""
    return prefix_of(table, COUNT) + index.encode() + _END


def change_key(table: str, at: Place) -> bytes:
    """What the entry of the row that changed at this commit number and index begins with; its key follows."""
    return prefix_of(table, CHANGE) + _place.pack(at[0], at[1] + 1)


def read_change(table: str, entry: bytes) -> tuple[Place, str]:
    """The opposite: commit number and index, and the key of the row."""
    start = len(prefix_of(table, CHANGE))
    nr, index = _place.unpack_from(entry, start)
    return (nr, index - 1), entry[start + _place.size :].decode()


class IndexWriter:
    """Puts into a write batch what the changes of rows make of the indexes.

    `get` reads what stands in the database. By `indexes` a projection's name gives its indexes.
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
        """A record of a row is about to be written, or to be removed."""
        table, _, key = read_key(record_key)
        if record_key in self._written:
            present = self._written[record_key]
        else:
            value_there = self._get(record_key)
            present = None if value_there is None else decode_stored(value_there)
        row = self._written[record_key] = None if value is None else decode_stored(value)
        self.change(table, key, present, row)

    def change(self, table: str, key: str, present: StoredRow | None, row: StoredRow | None) -> None:
        """A row takes the place of the one that is present, where there is one."""
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
        """All changes of the batch are told."""
        for key, by in self._counted.items():
            count = int(self._get(key) or b"0") + by
            if count:
                self._batch.put(key, b"%d" % count)
            else:
                self._batch.delete(key)  # nothing is left of a table that is dropped


def value_of(name: str, of: Callable[[Row], str | None], row: Row | None) -> str | None:
    """What a row stands under in an index."""
    if row is None:
        return None
    try:
        return of(row)
    except Exception as error:  # a row of another version of the projection may lack what this one looks at
        log.debug("a row is not in the index %s: %r", name, error)
        return None


def _value(name: str, of: Callable[[Row], str | None], stored: StoredRow | None) -> str | None:
    return None if stored is None else value_of(name, of, stored.row)
