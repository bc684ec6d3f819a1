"""What RocksDB and SQLite have in common as stores beneath Faust's tables: a copy of the changelog, a part a partition.

What cannot be used any more is made again from the changelog. Damage shows when a partition is opened, read or written.
The partition is then out of service and a rebalance is asked for. At the beginning of the rebalance the files of the
partition are removed, so that Faust's recovery starts from nothing. A full disk is no damage: writes fail until there
is room. Where there is no room to open or to recover a table the worker ends and says so, since Faust would stumble,
or log each record.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from faust import stores
from faust.types import TP

from projections.stores.declaration import Indexes
from projections.stores.sql_columns import SqlColumns
from streams.journal.port import Unavailable
from streams.notices import say_error, warn
from streams.runtime.application import Application

log = logging.getLogger(__name__)

T = TypeVar("T")

NO_SPACE = "No space left on device"
NO_SPACE_STATUS = 28
"""The number of that error in errno.h."""

Record = tuple[bytes, bytes | None]

stores.STORES.aliases["local"] = "projections.stores.local.rocksdb:RocksDBStore"
stores.STORES.aliases["sqlite"] = "projections.stores.local.sqlite:SqliteStore"

ROCKSDB = {
    "driver": "rocksdict",
    "block_cache_size": 64 << 20,
    "write_buffer_size": 16 << 20,
    "max_write_buffer_number": 2,
    "bloom_filter_size": 10,
}
"""Of the database of a table, with all partitions that a worker has. Faust's default is a block cache of 2 GiB."""


class TableError(Unavailable):
    """A partition of a table cannot be read or written at the moment."""


def rocksdb_table(app: Application, name: str, indexes: Mapping[str, Indexes]) -> Any:
    """A Faust table whose `data` is a `RocksDBStore`. `indexes` has the indexes of rows by projection."""
    return _table(app, name, "local", {**ROCKSDB, "indexes": indexes})


def sqlite_table(app: Application, name: str, columns: Mapping[str, SqlColumns]) -> Any:
    """A Faust table whose `data` is a `SqliteStore`. `columns` has the columns of tables by projection."""
    return _table(app, name, "sqlite", {"columns": columns})


def _table(app: Application, name: str, store: str, options: Mapping[str, Any]) -> Any:
    return app.Table(
        name,
        store=f"{store}:{name}",  # a URL that is a scheme and nothing else is false, and Faust takes its default
        key_type=bytes,
        value_type=bytes,
        partitions=app.settings.partitions,
        options=options,
    )


def read_up_to(known: int, count: int, offset: int) -> int:
    """How far a worker knows the changelog after it has put `count` records there, the last at `offset`.

    It knew the changelog up to `known`. If others have written in between, a recovery has to begin there.
    """
    return offset if known + count == offset else known


class LocalStore:
    """The part of a store that deals with damage and with recovery; the other part is a store class of Faust's."""

    app: Any
    table: Any
    table_name: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.damaged: set[int] = set()

    def is_damage(self, error: Exception) -> bool:
        """Whether an error says that the files of a partition cannot be used any more."""
        raise NotImplementedError

    def is_without_room(self, error: Exception) -> bool:
        """Whether an error says that the disk is full."""
        raise NotImplementedError

    def damaged_with(self, partition: int) -> set[int]:
        """The partitions whose files are damaged when those of this one are."""
        return {partition}

    def remove_files(self, partition: int) -> None:
        """Close what is open of a partition, and remove its files."""
        raise NotImplementedError

    def recover(self, partition: int, records: Iterable[Record], offset: int) -> None:
        """Write records of the changelog up to `offset`, but none that is older than the record that is here."""
        raise NotImplementedError

    def opened_or_remade(self, partition: int, open_files: Callable[[], T]) -> T:
        """What `open_files` opens; where that is damaged, the files are removed first."""
        try:
            return open_files()
        except Exception as error:
            self._end_without_room(error)
            if not self.is_damage(error):
                raise
            name, text = self.name_of(partition), "%s: made again from the changelog: it cannot be opened: %s"
            warn(log, "table-damaged", name, text, name, str(error))  # as in `failed`
        self.remove_files(partition)
        return open_files()

    def failed(self, partition: int, error: Exception) -> TableError:
        """What to raise when the database has raised `error`; asks for a rebalance when the partition is damaged."""
        if self.is_damage(error) and partition not in self.damaged:
            self.damaged |= self.damaged_with(partition)
            name, text = self.name_of(partition), "%s: out of service until it is made again from the changelog: %s"
            say_error(log, "table-damaged", name, text, name, str(error))  # who keeps an error keeps files open
            self.app.consumer.rejoin()
        return TableError(f"{self.name_of(partition)}: {error}")

    def remove_damaged(self) -> None:
        """Forget the partitions that are damaged. Nobody must read or write them, and a recovery must follow.

        A partition that was opened since the damage was met is damaged, too, where it is in the same files.
        """
        for partition in set[int]().union(*map(self.damaged_with, self.damaged)):
            self.remove_files(partition)
            # Faust remembers how far it had read the changelog, and would go on from there.
            self.app.tables.recovery.revoke(TP(self.table.changelog_topic_name, partition))
        self.damaged.clear()

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Called by Faust with what recovery and standby have read."""
        by_partition: defaultdict[int, list[Any]] = defaultdict(list)
        for event in batch:
            by_partition[event.message.partition].append(event.message)
        for partition, messages in by_partition.items():
            if partition not in self.damaged:
                try:
                    records = ((message.key, message.value) for message in messages)
                    self.recover(partition, records, messages[-1].offset)
                except Exception as error:
                    self._end_without_room(error)
                    self.failed(partition, error)
                    if partition not in self.damaged:
                        raise

    def name_of(self, partition: int) -> str:
        """A partition, for people."""
        return f"table {self.table_name}-{partition}"

    def _end_without_room(self, error: Exception) -> None:
        if self.is_without_room(error):
            folder = self.app.conf.tabledir
            print(f"error: {folder}: {NO_SPACE}: make room, then start again", file=sys.stderr, flush=True)
            os._exit(NO_SPACE_STATUS)  # nothing is lost by it, and Faust would catch anything that is raised
