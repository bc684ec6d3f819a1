"""A worker's RocksDB store on its own disk, and the way back to it from the changelog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from projections.projection import Row
from projections.stores.declaration import Indexes
from projections.stores.local.rocksdb import RocksDBStore
from projections.stores.local.store import Record, rocksdb_table
from projections.stores.local.tables import LocalRows
from projections.stores.rows import Quarantined
from streams.kafka.topic_limits import USUAL_LARGEST
from streams.runtime.application import Application
from streams.settings import Settings
from tests.flat_rows import flat
from tests.unit.sql_machines import Consumer, changes

TABLE = "things-1"
INDEXES = {"things": Indexes({"owner": lambda row: row["owner"]}, changes=True)}


class Changelog:
    """One partition of a changelog, as much of the broker as a table needs. It takes `room` records more, if that is
    said: behind them it is lost."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.room: int | None = None

    async def largest(self, topic: str) -> int:
        return USUAL_LARGEST

    async def require_room(self, topic: str, records: Sequence[Any]) -> None:
        pass

    async def publish(self, topic: str, partition: int, records: Sequence[Any], refuse: bool = False) -> int:
        new = [(key or b"", value) for key, value, _ in records]
        if self.room is not None and self.room < len(new):
            self.records += new[: self.room]
            raise ConnectionError("no changelog")
        self.records += new
        return len(self.records) - 1


class Machine:
    """One partition of a store; several machines may share its changelog."""

    def __init__(
        self, folder: Path, changelog: Changelog | None = None, indexes: Mapping[str, Indexes] = INDEXES
    ) -> None:
        self.app = app = Application("a.test", "a-test", Settings(data_dir=folder, partitions=1))
        self.consumer = app._consumer = Consumer()
        self.changelog: Any = changelog or Changelog()
        self.rows = LocalRows(rocksdb_table(app, "type-rows", indexes), self.changelog)
        self.store: RocksDBStore = self.rows.store
        self.tp = TP(self.rows.changelog, 0)

    @property
    def read_up_to(self) -> int | None:
        """The offset of the changelog behind which a recovery begins."""
        offset: int | None = self.store.persisted_offset(self.tp)
        return offset

    async def put(
        self, nr: int, *, table: str = TABLE, held: Mapping[str, Quarantined] | None = None, **rows: Any
    ) -> None:
        """Save rows as of commit `nr`, None for one that is removed, and the place of the table."""
        before = await self.rows.load(0, table, rows)
        await self.rows.save(0, {table: replace(changes(nr, rows, held), before=before)})

    def recover(self, at_once: int = 1_000) -> None:
        """What Faust does when a partition is assigned."""
        behind = self.read_up_to
        first = 0 if behind is None else behind + 1
        read = list(enumerate(self.changelog.records))[first:]
        for start in range(0, len(read), at_once):
            self.store.apply_changelog_batch(
                [self._event(offset, record) for offset, record in read[start : start + at_once]], bytes, bytes
            )

    def _event(self, offset: int, record: Record) -> Any:
        key, value = record
        return SimpleNamespace(message=SimpleNamespace(tp=self.tp, partition=0, offset=offset, key=key, value=value))

    async def loaded(self, *keys: str, table: str = TABLE) -> list[Row | None]:
        """The rows of these keys, and what removed ones have left."""
        found = await self.rows.load(0, table, keys)
        return [flat(found[key]) if key in found else None for key in keys]

    def all(self) -> dict[bytes, bytes]:
        """Everything that stands here."""
        return dict(self.store.items(0, b""))

    def flush(self) -> None:
        """Have all of it in files."""
        self.store.database.flush()

    def close(self) -> None:
        self.store.close()

    @property
    def path(self) -> Path:
        """The folder of its database."""
        return self.store.database_path
