"""Orders in a local store on a real disk, with indexes, written as processors write them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from projections.stores.declaration import Indexes
from projections.stores.local.store import rocksdb_table
from projections.stores.local.tables import LocalRows
from projections.stores.rows import Changes, Checkpoint, Quarantined, StoredRow
from streams.kafka.topic_limits import USUAL_LARGEST
from streams.runtime.application import Application
from streams.settings import Settings

TABLE = "orders-1"
PARTITIONS = 2


class Changelog:
    """The topic behind a local store: it counts what it gets, as Kafka does."""

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}

    async def largest(self, topic: str) -> int:
        return USUAL_LARGEST

    async def require_room(self, topic: str, records: Sequence[Any]) -> None:
        pass

    async def publish(self, topic: str, partition: int, records: Sequence[Any], refuse: bool = False) -> int:
        await asyncio.sleep(0)
        self.ends[partition] = self.ends.get(partition, 0) + len(records)
        return self.ends[partition] - 1


class Orders:
    """`save` as a processor does it: rows by key, each a status and where it changed, and the place of the table."""

    def __init__(self, folder: Path) -> None:
        app = Application("test", "projections", Settings(partitions=PARTITIONS), datadir=str(folder))
        changelog: Any = Changelog()
        indexes = {"orders": Indexes({"status": lambda row: row["status"]}, changes=True)}
        self.rows = LocalRows(rocksdb_table(app, "order-rows", indexes), changelog)
        self.store = self.rows.store
        self.live = self.rows.live

    async def save(
        self,
        partition: int,
        rows: Mapping[str, tuple[str, tuple[int, int]]],
        place: tuple[int, int] | None = None,
        released: Sequence[str] = (),
    ) -> None:
        """A status of "gone" removes a row."""
        at = place or max(at for _, at in rows.values())
        changes = Changes(
            Checkpoint(*at, at[0]),
            {key: _row(partition, key, *its) for key, its in rows.items()},
            {key: Quarantined(f"order-{partition}:1:0", "", 0) for key in released},
            await self.rows.load(partition, TABLE, rows),
        )
        await self.rows.save(partition, {TABLE: changes})


def _row(partition: int, key: str, status: str, at: tuple[int, int]) -> StoredRow:
    row = None if status == "gone" else {"id": key, "status": status}
    return StoredRow(f"order-{partition}:{at[0]}:{at[1]}", row=row)
