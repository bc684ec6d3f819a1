"""Rows in RocksDB beneath a Faust table: its assignment, standbys, changelog and recovery, our bytes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from faust.streams import _current_event

from streams.faust_app import Application

ROCKSDB = {
    "driver": "rocksdict",
    "block_cache_size": 8 << 20,
    "write_buffer_size": 4 << 20,
    "max_write_buffer_number": 2,
    "bloom_filter_size": 10,
}
"""Per partition and table. Faust's default is a block cache of 2 GiB each."""

_FAUST_KEYS = b"__faust"


class Table:
    """A table of bytes by bytes, as many partitions as its events; a row lives in the partition of its events."""

    def __init__(self, app: Application, name: str) -> None:
        self._table = app.Table(
            name,
            key_type=bytes,
            value_type=bytes,
            partitions=app.settings.partitions,
            options=ROCKSDB,
        )

    @property
    def changelog(self) -> str:
        """The name of its changelog topic."""
        return str(self._table.changelog_topic_name)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """A row of a partition that this worker has; None also for a partition that it has not."""
        db = self._table.data._dbs.get(partition)
        return None if db is None else db.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row, within `writing`."""
        self._table[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a row, within `writing`."""
        del self._table[key]

    def scan(self, partition: int) -> Iterator[bytes]:
        """All rows of a partition. Not to be held over an await."""
        db = self._table.data._dbs.get(partition)
        if db is not None:
            for key, value in db.items():
                if not key.startswith(_FAUST_KEYS):
                    yield value


@contextmanager
def writing(event: Any) -> Iterator[None]:
    """Write to the partition of `event`: Faust places a row by the event that it believes to be current."""
    token = _current_event.set(weakref.ref(event))
    try:
        yield
    finally:
        _current_event.reset(token)
