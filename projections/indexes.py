"""What a row in RocksDB is found by besides its key. Index entries stand beside the rows and change with them, in the
same write; they are not on the changelog, since they follow from the rows.
"""

from __future__ import annotations

import logging
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from projections.changelog import prefix_of, read_key
from projections.kept import Indexes, projection_name
from projections.rows import GONE, decode_row, position_of

log = logging.getLogger(__name__)

ENTRY, COUNT, CHANGE = b"i", b"c", b"n"
_END = b"\0"
_place = struct.Struct(">QI").pack
PLACE_BYTES = struct.calcsize(">QI")


def entry_prefix(table: str, index: str, value: str) -> bytes:
    """What the entries of an index under one value begin with; the row's key follows."""
    return prefix_of(table, ENTRY) + index.encode() + _END + value.encode() + _END


def count_prefix(table: str, index: str) -> bytes:
    """What the counts of an index begin with; the value that was counted follows."""
    return prefix_of(table, COUNT) + index.encode() + _END


def change_key(table: str, at: tuple[int, int]) -> bytes:
    """What the entry of the row that changed at this commit number and index begins with; its key follows."""
    return prefix_of(table, CHANGE) + _place(at[0], at[1] + 1)


class IndexWriter:
    """Puts into a write batch what the changes of rows make of the indexes.

    `get` reads what stands in the database. By `indexes` a projection's name gives its indexes.
    """

    def __init__(self, get: Any, batch: Any, indexes: Mapping[str, Indexes]) -> None:
        self._get = get
        self._batch = batch
        self._indexes = indexes
        self._written: dict[bytes, bytes | None] = {}
        self._counted: defaultdict[bytes, int] = defaultdict(int)

    def wants(self, table: str) -> bool:
        """Whether rows of this table have indexes at all."""
        return projection_name(table) in self._indexes

    def changed(self, record_key: bytes, value: bytes | None) -> None:
        """A row is about to be replaced, or removed."""
        table, _, key = read_key(record_key)
        indexes = self._indexes[projection_name(table)]
        present = self._written[record_key] if record_key in self._written else self._get(record_key)
        self._written[record_key] = value
        before = set(_entries(indexes, table, key, present))
        after = set(_entries(indexes, table, key, value))
        for entry, count in before - after:
            self._batch.delete(entry)
            self._count(count, -1)
        for entry, count in after - before:
            self._batch.put(entry, b"")
            self._count(count, +1)

    def _count(self, key: bytes, by: int) -> None:
        if key:
            self._counted[key] += by

    def finish(self) -> None:
        """All changes of the batch are told."""
        for key, by in self._counted.items():
            if by:
                self._batch.put(key, b"%d" % (int(self._get(key) or b"0") + by))


def _entries(indexes: Indexes, table: str, key: str, value: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a row, each with the key of its count."""
    if value is None:
        return
    row = decode_row(value)
    encoded = key.encode()
    if indexes.changes:
        yield change_key(table, position_of(row)) + encoded, b""
    if GONE in row:
        return
    for name, of in indexes.values.items():
        try:
            found = of(row)
        except Exception as error:  # a row of another version of the projection may lack what this one looks at
            log.debug("%s: %s is not in the index %s: %r", table, key, name, error)
            continue
        if found is not None:
            yield entry_prefix(table, name, found) + encoded, count_prefix(table, name) + found.encode()
