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
"""Tries, and seconds between them, to open a file that another process still has: one that is slow to end."""

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
        """The rows of these keys as they are stored, removed ones too; a key that never had a row is left out."""
        with self._file(partition) as file:
            return file.get_many(table, keys)

    def places(self, partition: int) -> dict[str, Checkpoint]:
        """The checkpoints of the tables that have anything in this partition."""
        with self._file(partition) as file:
            return file.places()

    def quarantined(self, partition: int, table: str) -> dict[str, Quarantined]:
        """The keys of a table whose events wait."""
        with self._file(partition) as file:
            return file.quarantined(table)

    def write(
        self, partition: int, records: Sequence[Record], offset: int, changes: Mapping[str, Changes] | None = None
    ) -> None:
        """Write records that are on the changelog up to `offset`; a record without a value removes its key.

        All or nothing, with the offset from which a recovery goes on; a record that is older than the one here changes
        nothing. `changes` is not needed: SQLite itself keeps indexes.
        """
        with self._file(partition) as file:
            file.write(records, offset)

    def record_keys(self, partition: int, table: str) -> list[bytes]:
        """The keys of all records of a table on the changelog. When the last is removed, the table is dropped."""
        with self._file(partition) as file:
            return file.record_keys(table)

    def drop(self, partition: int, table: str) -> None:
        """Remove a table from the file at once, and not from the changelog. Idempotent."""
        with self._file(partition) as file:
            file.drop(table)

    def rows(self, partition: int, table: str, conditions: str = "", parameters: Parameters = ()) -> list[bytes]:
        """Rows as JSON, as queries see them. `conditions` is the end of a SELECT, `WHERE .. ORDER BY .. LIMIT ..`, with
        `parameters` for its question marks."""
        with self._file(partition) as file:
            return file.rows(table, conditions, parameters)

    def select(self, partition: int, table: str, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """The result of a SELECT. `{table}` in it stands for the table without removed rows, `{search}` for the index
        of its words, as in `id IN (SELECT rowid FROM {search}(?))`."""
        with self._file(partition) as file:
            return file.select(table, sql, parameters)

    # -- damage --------------------------------------------------------------------------------------

    @contextmanager
    def _file(self, partition: int) -> Iterator[SqliteFile]:
        """The file of a partition. An error of the file or the disk becomes a `TableError`; an error of the query is
        raised as it is."""
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
        """Remember that the file has the changelog up to an offset."""
        self._opened(tp.partition).recover((), offset)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Close the partitions that other workers have now, and open the new ones."""
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
        """Close all files."""
        for partition in list(self._files):
            self._close(partition)

    def _close(self, partition: int) -> None:
        file = self._files.pop(partition, None)
        if file is not None:
            file.close()

    def reset_state(self) -> None:
        """Remove all files; the changelog stays."""
        for partition in list(self._files):
            self._close(partition)
        ours = re.compile(re.escape(self.table_name) + r"-\d+\.sqlite")
        for path in [path for path in self._folder.glob("*.sqlite") if ours.fullmatch(path.name)]:
            _remove(path)

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """There is no backup: a lost file is made again from the changelog."""
        raise NotImplementedError("the changelog is the backup")

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """There is no backup."""
        raise NotImplementedError("the changelog is the backup")

    @property
    def _folder(self) -> Path:
        return Path(self.app.conf.tabledir)

    def partition_path(self, partition: int) -> Path:
        """The file of a partition; SQLite has more files beside it."""
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
