"""One partition of a table in RocksDB: the keys of the table's database that begin with its number.

The partitions of a table share files, memory and cache. So a table costs a worker the same with 8 partitions as with a
hundred: each database by itself takes six open files, a quarter of a megabyte and 5 ms at every start, and has a buffer
of its own that fills up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from rocksdict import WriteBatch

_number = struct.Struct(">H")


class PartitionBatch:
    """Writes to one partition that are made together."""

    def __init__(self, begin: bytes) -> None:
        self.whole = WriteBatch(raw_mode=True)
        self._begin = begin

    def put(self, key: bytes, value: bytes) -> None:
        """Write a key."""
        self.whole.put(self._begin + key, value)

    def delete(self, key: bytes) -> None:
        """Remove a key."""
        self.whole.delete(self._begin + key)


class PartitionView:
    """A partition of the `database`, an `Rdict` in raw mode, as if it were one by itself. Each method raises the errors
    of RocksDB."""

    def __init__(self, database: Any, partition: int) -> None:
        self._database = database
        self._begin = _number.pack(partition)

    def get(self, key: bytes) -> bytes | None:
        """The bytes under a key."""
        value: bytes | None = self._database.get(self._begin + key)
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The bytes under each of these keys."""
        values: list[bytes | None] = self._database.get([self._begin + key for key in keys])
        return values

    def put(self, key: bytes, value: bytes) -> None:
        """Write a key by itself."""
        self._database.put(self._begin + key, value)

    def batch(self) -> PartitionBatch:
        """A new one, to be written by `write`."""
        return PartitionBatch(self._begin)

    def write(self, batch: PartitionBatch) -> None:
        """Write all of a batch, or nothing."""
        self._database.write(batch.whole)

    def items(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The keys with a prefix, from `start` on, in order, and their values, as they are when the first is asked for.
        Not to be held over an await."""
        own, wanted = len(self._begin), self._begin + prefix
        rows = self._database.iter()
        rows.seek(self._begin + max(prefix, start))
        while rows.valid():
            key = rows.key()
            if not key.startswith(wanted):
                return
            yield key[own:], rows.value()
            rows.next()
        rows.status()  # raises for a damaged block, at which rocksdict's own `items` ends early without an error
