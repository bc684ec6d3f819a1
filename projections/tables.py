"""Rows in RocksDB beneath a Faust table: its assignment, standbys and recovery are Faust's, the writing is ours.

Faust writes a row at a time, to RocksDB and to the changelog, and again the offset when the changelog has
it; its flush gives up after 100 ms. Here a batch of events is one write to each, and done when both are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rocksdict import WriteBatch

from streams.broker import Broker, Record
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
        self._table: Any = app.Table(
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

    async def publish(self, broker: Broker, partition: int, rows: Mapping[bytes, bytes | None]) -> int:
        """Put rows on the changelog, from which standbys and the next owner have them. Returns the last one's offset."""
        records: list[Record] = [(key, value, []) for key, value in rows.items()]
        return await broker.publish(self.changelog, partition, records)

    def write(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        """Write rows that `publish` has put on the changelog up to `offset`, or remove those that are None.

        All or nothing, the offset included, from which a recovery goes on.
        """
        data = self._table.data
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(data.offset_key, b"%d" % offset)
        data._db_for_partition(partition).write(batch)

    def scan(self, partition: int) -> Iterator[bytes]:
        """All rows of a partition. Not to be held over an await."""
        db = self._table.data._dbs.get(partition)
        if db is not None:
            for key, value in db.items():
                if not key.startswith(_FAUST_KEYS):
                    yield value
