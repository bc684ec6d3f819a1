"""Local tables of a projection worker: the product's own store and rows, with a sorted dictionary for RocksDB.

A disk outlives its process, and is lost or older now and then.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from projections.stores.changes import ChangeNotifier
from projections.stores.declaration import Indexes
from projections.stores.local.partition_view import PartitionView
from projections.stores.local.rocksdb import RocksDBStore
from projections.stores.local.tables import LocalRows
from tests.simulation.wire import read

if TYPE_CHECKING:
    from streams.kafka.client import KafkaClient
    from tests.simulation.world import World

Disk = dict[int, dict[bytes, bytes]]
"""By partition what stands under each key."""
MOST_RECOVERED = 20
"""Records of a changelog that are written at once."""


class Batch:
    """As rocksdict's `WriteBatch`."""

    def __init__(self, raw_mode: bool) -> None:
        self.writes: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.writes.append((key, value))

    def delete(self, key: bytes) -> None:
        self.writes.append((key, None))


class Database:
    """As rocksdict's `Rdict`, as far as the store uses it."""

    def __init__(self, content: dict[bytes, bytes]) -> None:
        self.content = content

    def get(self, key: bytes | list[bytes]) -> Any:
        if isinstance(key, list):
            return [self.content.get(one) for one in key]
        return self.content.get(key)

    def write(self, batch: Batch) -> None:
        for key, value in batch.writes:
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value

    def iter(self) -> Cursor:
        return Cursor(self.content)


class Cursor:
    """An iterator over the keys in order."""

    def __init__(self, content: dict[bytes, bytes]) -> None:
        self._content = dict(content)
        self._keys = sorted(content)
        self._index = 0

    def seek(self, key: bytes) -> None:
        self._index = bisect_left(self._keys, key)

    def valid(self) -> bool:
        return self._index < len(self._keys)

    def key(self) -> bytes:
        return self._keys[self._index]

    def value(self) -> bytes:
        return self._content[self.key()]

    def next(self) -> None:
        self._index += 1

    def status(self) -> None:
        pass


class SimulatedStore(RocksDBStore):
    """The product's store on such databases."""

    def __init__(self, disk: Disk) -> None:
        self.table_name = "rows"
        self._disk = disk
        self._dbs: dict[int, Any] = {}
        self.damaged = set()
        self.indexes = {}

    def _db_for_partition(self, partition: int) -> Any:
        if partition not in self._dbs:
            self._dbs[partition] = PartitionView(Database(self._disk.setdefault(partition, {})), partition)
        return self._dbs[partition]


def content_of(disk: Disk, partition: int) -> dict[bytes, bytes]:
    """What stands there of a partition, by the keys of the changelog."""
    return dict(PartitionView(Database(disk[partition]), partition).items(b""))


class SimulatedRows(LocalRows):
    """The product's rows over such a store."""

    def __init__(
        self, world: World, changelog: str, broker: KafkaClient, indexes: Mapping[str, Indexes], disk: Disk
    ) -> None:
        self._world = world
        self._table = SimpleNamespace(changelog_topic_name=changelog, data=SimulatedStore(disk))
        self._broker = broker
        self._writing = defaultdict(asyncio.Lock)
        self.live = ChangeNotifier()
        self.store.indexes = indexes

    async def recover(self, partition: int) -> None:
        """As Faust does it when a partition is assigned: what the changelog has behind what the disk has."""
        world, place = self._world, SimpleNamespace(partition=partition)
        log = world.kafka.partition(self.changelog, partition)
        known = self.store.persisted_offset(place)
        at = -1 if known is None else known
        found = await world.network.ask("group", lambda: log.after(at + 1, len(log.records)))
        records = read(self.changelog, partition, found)
        for start in range(0, len(records), MOST_RECOVERED):
            messages = [
                SimpleNamespace(partition=partition, offset=it.offset, key=it.key, value=it.value)
                for it in records[start : start + MOST_RECOVERED]
            ]
            events = [SimpleNamespace(message=message) for message in messages]
            self.store.apply_changelog_batch(events, bytes, bytes)
            await asyncio.sleep(0)
