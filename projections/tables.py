"""Rows in RocksDB beneath a Faust table: its assignment, standbys and recovery are Faust's, the writing is ours.

Faust writes a row at a time, to RocksDB and to the changelog, and again the offset when the changelog has
it; its flush gives up after 100 ms. Here a batch of events is one write to each, and done when both are.

Kafka fences nobody, so a worker that was stopped in the middle of a batch and has lost its partition since
still puts its rows on the changelog, behind newer ones. Every row is a fold of the log up to its position:
the one with the newest position is right, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from faust import stores
from faust.stores.rocksdb import Store
from faust.types import TP
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

_decode = msgspec.json.Decoder().decode


def is_newer(value: bytes | None, present: bytes | None) -> bool:
    """Whether a row of a changelog is to replace the one that is there; not if its position is older."""
    return value is None or present is None or place(_decode(value)) >= place(_decode(present))


def place(row: Any) -> tuple[int, int]:
    """Commit number and index of the last event in a row; the table of positions has commit numbers as rows."""
    if isinstance(row, int):
        return row, 0
    _, nr, index = row["position"].rsplit(":", 2)
    return int(nr), int(index)


def read_up_to(known: int, count: int, offset: int) -> int:
    """How far a worker knows the changelog, after it has put `count` rows there, the last at `offset`.

    It knew it up to `known`. If others have written in between, a recovery has to begin there.
    """
    return offset if known + count == offset else known


class RowStore(Store):  # type: ignore[misc]
    """RocksDB whose recovery does not go back from a newer row to an older one."""

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:
        newest: dict[tuple[int, bytes], Any] = {}
        read: dict[TP, int] = {}
        for event in batch:
            message = event.message
            read[message.tp] = max(message.offset, read.get(message.tp, -1))
            row = message.partition, message.key
            if row in newest:
                present = newest[row].message.value
            else:
                present = self._db_for_partition(message.partition).get(message.key)
            if is_newer(message.value, present):
                newest[row] = event
        super().apply_changelog_batch(newest.values(), to_key, to_value)
        for tp, offset in read.items():
            self.set_persisted_offset(tp, offset)


STORE = "rows://"
"""The `store` of an app that has tables."""
stores.STORES.aliases["rows"] = f"{__name__}:{RowStore.__name__}"


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
        """Put rows on the changelog, for standbys and the next owner. Returns the offset of the last one."""
        records: list[Record] = [(key, value, []) for key, value in rows.items()]
        return await broker.publish(self.changelog, partition, records)

    def write(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        """Write rows that `publish` has put on the changelog up to `offset`, or remove those that are None.

        All or nothing, with the offset from which a recovery goes on.
        """
        data = self._table.data
        db = data._db_for_partition(partition)
        known = read_up_to(int(db.get(data.offset_key) or b"-1"), len(rows), offset)
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(data.offset_key, b"%d" % known)
        db.write(batch)

    def scan(self, partition: int) -> Iterator[bytes]:
        """All rows of a partition. Not to be held over an await."""
        db = self._table.data._dbs.get(partition)
        if db is not None:
            for key, value in db.items():
                if not key.startswith(_FAUST_KEYS):
                    yield value
