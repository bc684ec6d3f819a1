"""A worker's SQLite store on its own disk, and the way back to it from the changelog."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

from faust.types import TP

from projections.stores.changelog import records_of
from projections.stores.declaration import projection_name
from projections.stores.local.sqlite import SqliteStore
from projections.stores.local.store import Record, sqlite_table
from projections.stores.rows import Changes, Checkpoint, Quarantined
from projections.stores.sql_columns import SqlColumns
from streams.runtime.application import Application
from streams.settings import Settings
from tests.flat_rows import flat, stored

TABLE = "things-1"
COLUMNS = {"things": SqlColumns({"owner": "json_extract(row, '$.owner')"}, indexes=[("owner", "key")])}


class Consumer:
    """Counts how often a rebalance was asked for."""

    def __init__(self) -> None:
        self.rejoined = 0

    def rejoin(self) -> None:
        self.rejoined += 1


class Machine:
    """One partition of a store, and its changelog, which several machines may share."""

    def __init__(
        self, folder: Path, changelog: list[Record] | None = None, columns: Mapping[str, SqlColumns] = COLUMNS
    ) -> None:
        app = Application("a.test", "a-test", Settings(data_dir=folder, partitions=1))
        self.consumer = app._consumer = Consumer()
        self.faust_table = sqlite_table(app, "type", columns)
        self.store: SqliteStore = self.faust_table.data
        self.changelog: list[Record] = [] if changelog is None else changelog
        self.tp = TP(self.faust_table.changelog_topic_name, 0)

    @property
    def read_up_to(self) -> int | None:
        """The offset of the changelog behind which a recovery begins."""
        return self.store.persisted_offset(self.tp)

    def put(self, nr: int, *, table: str = TABLE, held: Mapping[str, Quarantined] | None = None, **rows: Any) -> None:
        """Save rows as of commit `nr`, None for one that is removed, and the place of the table."""
        self.save({table: changes(nr, rows, held)})

    def save(self, changed: Mapping[str, Changes]) -> None:
        self.write(list(records_of(changed)))

    def write(self, records: list[Record]) -> None:
        """Put records on the changelog, then here."""
        self.changelog += records
        self.store.write(0, records, len(self.changelog) - 1)

    def recover(self, at_once: int = 1_000) -> None:
        """What Faust does when a partition is assigned."""
        behind = self.read_up_to
        events = [
            SimpleNamespace(message=SimpleNamespace(tp=self.tp, partition=0, offset=offset, key=key, value=value))
            for offset, (key, value) in enumerate(self.changelog)
            if behind is None or offset > behind
        ]
        for first in range(0, len(events), at_once):
            self.store.apply_changelog_batch(events[first : first + at_once], None, None)

    def rows(self, *keys: str, table: str = TABLE) -> list[Any]:
        """What stands under these keys, but for the position."""
        found = self.store.get_many(0, table, keys)
        return [flat(found[key]) if key in found else None for key in keys]

    def close(self) -> None:
        self.store._close(0)

    @property
    def path(self) -> Path:
        """Its file."""
        return self.store.partition_path(0)


def changes(nr: int, rows: Mapping[str, Any], held: Mapping[str, Quarantined] | None = None) -> Changes:
    """What commit `nr` has made of a table."""
    at = {"position": f"type-0:{nr}:0"}
    made = {key: stored({"gone": True, **at} if row is None else {**row, **at}) for key, row in rows.items()}
    return Changes(Checkpoint(nr, 0, nr, nr), made, held or {})


def row(nr: int, **fields: Any) -> dict[str, Any]:
    """A row as commit `nr` has left it."""
    return {**fields, "position": f"type-0:{nr}:0"}


class Partitions:
    """A store with one table over several partitions, each row in one by its key, and the pages of it."""

    COUNT = 3

    def __init__(self, folder: Path, table: str, columns: SqlColumns) -> None:
        app = Application("a.test", "a-test", Settings(data_dir=folder, partitions=self.COUNT))
        self.store: SqliteStore = sqlite_table(app, "type", {projection_name(table): columns}).data
        self.table = table
        self._nr = 0

    def put(self, rows: Mapping[str, Any]) -> None:
        """Save rows, None for one that is removed."""
        self._nr += 1
        for partition in range(self.COUNT):
            here = {key: row for key, row in rows.items() if crc32(key.encode()) % self.COUNT == partition}
            records = list(records_of({self.table: changes(self._nr, here)}))
            self.store.write(partition, records, self._nr)

    def ask(self, answer: Callable[..., Any], *question: Any) -> list[Any]:
        """What each partition answers."""
        return [answer(self.store, partition, self.table, *question) for partition in range(self.COUNT)]

    def close(self) -> None:
        for partition in list(self.store._files):
            self.store._close(partition)
