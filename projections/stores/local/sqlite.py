"""SQLite beneath Faust's tables: where a view looks for more than a key. Assignment, standbys and recovery are Faust's.

All runs on the thread of the loop, as with RocksDB: a query takes some tenths of a millisecond, a batch of 500 rows
ten or twenty.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faust.stores import base
from faust.types import TP

from projections.stores.local.sqlite_errors import Damaged, is_damage, is_in_use, is_not_now, is_without_room
from projections.stores.local.sqlite_file import Parameters, SqliteFile
from projections.stores.local.store import LocalStore, Record, TableError
from projections.stores.rows import Changes, Checkpoint, Quarantined
from projections.stores.sql_columns import SqlColumns

log = logging.getLogger(__name__)

OPEN_TRIES, OPEN_PAUSE = 30, 1.0
"""For a file that another process still has: one that ends, and is slow to."""

_FILES = ("", "-wal", "-shm", "-journal")


class SqliteStore(LocalStore, base.Store):  # type: ignore[misc]
    """A file for each partition. Methods that take a table raise `TableError` while it cannot be read or written.

    Rows are written in batches, with their changelog offset, and not one by one as in a Faust table.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._columns: Mapping[str, SqlColumns] = (self.options or {}).get("columns", {})
        self._files: dict[int, SqliteFile] = {}

    # -- what the engine and the views ask -----------------------------------------------------------

    def get_many(self, partition: int, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The rows of these keys as they are kept, removed ones too; a key that never had one is left out."""
        with self._file(partition) as file:
            return file.get_many(table, keys)

    def places(self, partition: int) -> dict[str, Checkpoint]:
        """How far each table is that has something in this partition."""
        with self._file(partition) as file:
            return file.places()

    def quarantined(self, partition: int, table: str) -> dict[str, Quarantined]:
        """The keys of a table whose events wait."""
        with self._file(partition) as file:
            return file.quarantined(table)

    def write(
        self, partition: int, records: Sequence[Record], offset: int, changes: Mapping[str, Changes] | None = None
    ) -> None:
        """Write records that are on the changelog up to `offset`; those without a value are removed.

        All or nothing, with the offset from which a recovery goes on; but no record that is older than what is here.
        What the records were made of, `changes`, is not needed: SQLite knows what a row was before.
        """
        with self._file(partition) as file:
            file.write(records, offset)

    def record_keys(self, partition: int, table: str) -> list[bytes]:
        """The keys of all that the changelog has of a table. When the last of them is removed, the table is dropped."""
        with self._file(partition) as file:
            return file.record_keys(table)

    def drop(self, partition: int, table: str) -> None:
        """Remove all of a table here at once, but not on the changelog. Idempotent."""
        with self._file(partition) as file:
            file.drop(table)

    def rows(self, partition: int, table: str, conditions: str = "", parameters: Parameters = ()) -> list[bytes]:
        """Rows as they are shown to others, in JSON. `conditions` is what follows the table in a SELECT: `WHERE ..
        ORDER BY .. LIMIT ..`, with `parameters` in the places of its question marks."""
        with self._file(partition) as file:
            return file.rows(table, conditions, parameters)

    def select(self, partition: int, table: str, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """What a SELECT finds, for sums and the like. `{table}` in it is the table without what was removed, `{search}`
        the index of its words: `id IN (SELECT rowid FROM {search}(?))`."""
        with self._file(partition) as file:
            return file.select(table, sql, parameters)

    # -- damage --------------------------------------------------------------------------------------

    @contextmanager
    def _file(self, partition: int) -> Iterator[SqliteFile]:
        """The file of a partition. What is wrong with it, or the disk, is a `TableError`; what is wrong with the
        question is raised as it is."""
        if partition in self.damaged:
            raise TableError(f"{self.name_of(partition)}: damaged")
        try:
            yield self._opened(partition)
        except (sqlite3.Error, Damaged) as error:
            if is_damage(error) or is_not_now(error):
                raise self.failed(partition, error) from None
            raise

    def _opened(self, partition: int) -> SqliteFile:
        if partition not in self._files:
            self._files[partition] = self._open(partition)
        return self._files[partition]

    def _open(self, partition: int) -> SqliteFile:
        return self.opened_or_remade(partition, lambda: _open(self.partition_path(partition), self._columns))

    def is_damage(self, error: Exception) -> bool:
        return is_damage(error)

    def is_without_room(self, error: Exception) -> bool:
        return is_without_room(error)

    def remove_files(self, partition: int) -> None:
        self._close(partition)
        _remove(self.partition_path(partition))

    def recover(self, partition: int, records: Iterable[Record], offset: int) -> None:
        self._opened(partition).recover(records, offset)

    # -- what Faust asks -----------------------------------------------------------------------------

    def persisted_offset(self, tp: TP) -> int | None:
        """The offset of the changelog behind which a recovery begins."""
        return None if tp.partition in self.damaged else self._opened(tp.partition).read_up_to

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Say that all is here up to an offset."""
        self._opened(tp.partition).recover((), offset)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Close what others have now, and open what is new here."""
        for tp in revoked:
            if tp.topic == self.table.changelog_topic_name:
                self._close(tp.partition)
        for tp in newly_assigned:
            if tp.topic == self.table.changelog_topic_name and tp.partition not in self.damaged:
                await self._open_when_free(tp.partition, generation_id)

    async def _open_when_free(self, partition: int, generation: int) -> None:
        for tried in range(OPEN_TRIES):
            try:
                self._opened(partition)
                return
            except sqlite3.OperationalError as error:
                if not is_in_use(error) or tried == OPEN_TRIES - 1:
                    raise
                log.info("%s: another process has it still", self.name_of(partition))
            await asyncio.sleep(OPEN_PAUSE)
            if generation != self.app.consumer_generation_id:
                return

    async def on_stop(self) -> None:
        """Close all."""
        for partition in list(self._files):
            self._close(partition)

    def _close(self, partition: int) -> None:
        file = self._files.pop(partition, None)
        if file is not None:
            file.close()

    def reset_state(self) -> None:
        """Remove all that is kept here; the changelog stays."""
        for partition in list(self._files):
            self._close(partition)
        ours = re.compile(re.escape(self.table_name) + r"-\d+\.sqlite")
        for path in [path for path in self._folder.glob("*.sqlite") if ours.fullmatch(path.name)]:
            _remove(path)

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """There is none: the changelog is what a lost file is made from."""
        raise NotImplementedError("the changelog is the backup")

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """There is none."""
        raise NotImplementedError("the changelog is the backup")

    @property
    def _folder(self) -> Path:
        return Path(self.app.conf.tabledir)

    def partition_path(self, partition: int) -> Path:
        """The file of a partition; SQLite has others beside it."""
        return self._folder / f"{self.table_name}-{partition}.sqlite"


def _open(path: Path, columns: Mapping[str, SqlColumns]) -> SqliteFile:
    file = SqliteFile(path, columns)
    try:
        file.places()
    except BaseException:
        file.close()
        raise
    return file


def _remove(path: Path) -> None:
    for end in _FILES:
        Path(f"{path}{end}").unlink(missing_ok=True)
