"""Workers' local tables over real RocksDB, each on a disk of its own, and the changelog that they share."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from projections import queries
from projections.kept import Indexes
from projections.local_store import LocalStore
from projections.projection import Row
from projections.rows import GONE, Changes, Place, position_of
from projections.tables import LocalRows, rocksdb_table
from streams.broker import Record
from streams.faust_app import Application
from streams.settings import Settings

INDEXES = {"things": Indexes({"colour": lambda row: row["colour"]}, changes=True)}
"""By projection. Rows without a colour are not listed."""


class Changelog:
    """One partition of a changelog, as much of the broker as tables need. It may break off, and say nothing."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []
        self.takes: int | None = None
        """So many records more, before the worker is killed."""

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        for key, value, _ in records[: self.takes]:
            self.records.append((key or b"", value))
        if self.takes is not None:
            raise ConnectionError("killed")
        return len(self.records) - 1


class Consumer:
    """Counts how often a rebalance was asked for."""

    def __init__(self) -> None:
        self.rejoined = 0

    def rejoin(self) -> None:
        self.rejoined += 1


class Machine:
    """A worker's tables of one aggregate type, and the way back to them from the changelog."""

    def __init__(self, folder: Path, changelog: Changelog, indexes: Mapping[str, Indexes] | None = None) -> None:
        app = Application("a.test", "a-test", Settings(data_dir=folder, partitions=1))
        app._consumer = self.consumer = Consumer()
        broker: Any = changelog
        self.rows = LocalRows(rocksdb_table(app, "things-rows", INDEXES if indexes is None else indexes), broker)
        self.rows.store._db_for_partition(0)
        self._changelog = changelog

    @property
    def store(self) -> LocalStore:
        store: LocalStore = self.rows.store
        return store

    @property
    def read_up_to(self) -> int:
        """The offset of the changelog behind which a recovery begins."""
        offset = self.store.persisted_offset(TP("changelog", 0))
        return -1 if offset is None else int(offset)

    def recover(self, upto: int | None = None) -> None:
        """What Faust does when a partition is assigned: perhaps not to the end, which grows meanwhile."""
        events = [
            SimpleNamespace(message=SimpleNamespace(partition=0, offset=offset, key=key, value=value))
            for offset, (key, value) in enumerate(self._changelog.records[:upto])
            if offset > self.read_up_to
        ]
        if events:
            self.store.apply_changelog_batch(events, bytes, bytes)

    def close(self) -> None:
        """Close its files."""
        self.store._dbs.clear()
        gc.collect()

    async def put(self, table: str, nr: int, /, **rows: Row) -> None:
        """Keep rows as of commit `nr`, and the place."""
        placed = {key: {**row, "position": f"thing-0:{nr}:0"} for key, row in rows.items()}
        await self.rows.save(0, {table: Changes(Place(nr, 0, nr), placed)})

    async def all(self, table: str) -> dict[str, Row]:
        """All rows, those that were removed too."""
        return dict(await self.rows.load(0, table, list(queries.keys(self.store, 0, table))))

    async def difference(self, table: str) -> str:
        """What the indexes say that does not follow from the rows; nothing if they are exact."""
        store, rows = self.store, await self.all(table)
        listed: dict[str, list[str]] = {}
        for key, row in rows.items():
            if GONE not in row and row["colour"] is not None:
                listed.setdefault(row["colour"], []).append(key)
        counts = queries.counts(store, 0, table, "colour")
        if counts != {colour: len(keys) for colour, keys in listed.items()}:
            return f"listed are {listed}, counted {counts}"
        for colour, keys in listed.items():
            if keys != (found := queries.indexed(store, 0, table, "colour", colour, "", 1_000)):
                return f"{keys} are {colour}, found {found}"
        upto = queries.place(store, 0, table).at
        changed = sorted((position_of(row), key) for key, row in rows.items())
        told = [(change.at, change.key) for change in queries.changes(store, 0, table, (0, -1), 1_000)]
        wanted = [its for its in changed if its[0] <= upto]
        return "" if wanted == told else f"changed are {wanted}, told {told}"
