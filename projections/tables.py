"""Rows in RocksDB beneath a Faust table: its assignment, standbys and recovery are Faust's, the writing is ours.

Faust writes a row at a time, to RocksDB and to the changelog, and again the offset when the changelog has
it; its flush gives up after 100 ms. Here a batch of events is one write to each, and done when both are.

Kafka fences nobody, so a worker that was stopped in the middle of a batch and has lost its partition since
still puts its rows on the changelog, behind newer ones. Every row is a fold of the log up to its position:
the one with the newest position is right, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from faust import stores
from rocksdict import WriteBatch

from streams.broker import Broker, Record
from streams.faust_app import Application

if TYPE_CHECKING:
    from projections.local_store import LocalStore

ROCKSDB = {
    "driver": "rocksdict",
    "block_cache_size": 8 << 20,
    "write_buffer_size": 4 << 20,
    "max_write_buffer_number": 2,
    "bloom_filter_size": 10,
}
"""Per partition and table. Faust's default is a block cache of 2 GiB each."""

STORE = "local://"
"""The `store` of an app that has tables."""
stores.STORES.aliases["local"] = "projections.local_store:LocalStore"

GONE = "gone"
"""The first key of a row that its projection has removed: only its position is left of it, and no query sees it."""

_FAUST_KEYS = b"__faust"
_GONE = b'{"%s":' % GONE.encode()

_decode = msgspec.json.Decoder().decode


def is_newer(value: bytes | None, present: bytes | None) -> bool:
    """Whether a row of a changelog is to replace the one that is there; not if its position is older."""
    return value is None or present is None or place(_decode(value)) >= place(_decode(present))


def place(row: Any) -> tuple[int, int]:
    """Commit number and index of the last event in a row; the table of positions has numbers as rows."""
    if isinstance(row, int):
        return row, 0
    _, nr, index = row["position"].rsplit(":", 2)
    return int(nr), int(index)


def read_up_to(known: int, count: int, offset: int) -> int:
    """How far a worker knows the changelog, after it has put `count` rows there, the last at `offset`.

    It knew it up to `known`. If others have written in between, a recovery has to begin there.
    """
    return offset if known + count == offset else known


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

    @property
    def _store(self) -> LocalStore:
        store: LocalStore = self._table.data
        return store

    @property
    def is_damaged(self) -> bool:
        """Whether part of it is out of service, until it is recovered from the changelog."""
        return bool(self._store.damaged)

    def remove_damaged(self) -> None:
        """At the beginning of a rebalance: what is damaged is recovered in its course."""
        self._store.remove_damaged()

    def get(self, partition: int, key: bytes) -> bytes | None:
        """What stands under a key of a partition that this worker has, be it a row or what a removed one has left;
        None also for a partition that it has not. Raises `TableError`."""
        db = self._store._dbs.get(partition)
        try:
            return None if db is None else db.get(key)
        except Exception as error:
            raise self._store.failed(partition, error) from None

    def row(self, partition: int, key: bytes) -> bytes | None:
        """A row as queries see it. Raises `TableError`."""
        value = self.get(partition, key)
        return None if value is None or value.startswith(_GONE) else value

    async def publish(self, broker: Broker, partition: int, rows: Mapping[bytes, bytes | None]) -> int:
        """Put rows on the changelog, for standbys and the next owner. Returns the offset of the last one."""
        records: list[Record] = [(key, value, []) for key, value in rows.items()]
        return await broker.publish(self.changelog, partition, records)

    def write(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        """Write rows that `publish` has put on the changelog up to `offset`, or remove those that are None.

        All or nothing, with the offset from which a recovery goes on. Raises `TableError`.
        """
        store = self._store
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        try:
            db = store._db_for_partition(partition)
            known = read_up_to(int(db.get(store.offset_key) or b"-1"), len(rows), offset)
            batch.put(store.offset_key, b"%d" % known)
            db.write(batch)
        except Exception as error:
            raise store.failed(partition, error) from None

    def scan(self, partition: int) -> Iterator[bytes]:
        """All rows of a partition, as queries see them. Not to be held over an await. Raises `TableError`."""
        db = self._store._dbs.get(partition)
        if db is None:
            return
        rows = db.iter()
        rows.seek_to_first()
        while rows.valid():
            value = rows.value()
            if not value.startswith(_GONE) and not rows.key().startswith(_FAUST_KEYS):
                yield value
            rows.next()
        try:
            rows.status()  # rocksdict's own `items` ends early, without a word, at a block that is damaged
        except Exception as error:
            raise self._store.failed(partition, error) from None
