"""RocksDB beneath Faust's tables. It is a copy of the changelog: what cannot be used any more is made again from it.

Damage shows when a partition is opened, read or written. The partition is then out of service and a rebalance asked
for, at the beginning of which its folder is removed, so that Faust's recovery starts from nothing. A full disk is no
damage: writes fail until there is room, and RocksDB goes on by itself.

A worker that was paused and replaced may still write what it had in work, behind the newer rows of its successor. So a
row of the changelog counts only when it is not older than the one that is here, by the place of its last event.
"""

from __future__ import annotations

import gc
import logging
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from faust.stores import STORES, rocksdb
from faust.types import TP

log = logging.getLogger(__name__)

NO_SPACE = "No space left on device"
NO_SPACE_STATUS = 28
"""The number of that error in errno.h."""
_DAMAGE = ("Corruption", "No such file or directory", "Input/output error")
"""What RocksDB's messages say then; rocksdict has no types for them."""


class TableError(Exception):
    """A partition of a table cannot be read or written at the moment."""


class LocalStore(rocksdb.Store):  # type: ignore[misc]
    """Faust's store, which takes what it does not understand for damage, and begins again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.damaged: set[int] = set()

    def _open_for_partition(self, partition: int) -> Any:
        try:
            return super()._open_for_partition(partition)
        except Exception as error:
            if not _is_damage(error):
                raise
            log.warning("%s: made again from the changelog: it cannot be opened: %s", self._name(partition), error)
            shutil.rmtree(self.partition_path(partition))
            return super()._open_for_partition(partition)

    def failed(self, partition: int, error: Exception) -> TableError:
        """What to raise when RocksDB has raised `error`; asks for a rebalance when the partition is damaged."""
        if _is_damage(error) and partition not in self.damaged:
            self.damaged.add(partition)
            log.error("%s: out of service until it is made again from the changelog: %s", self._name(partition), error)
            self.app.consumer.rejoin()
        return TableError(f"{self._name(partition)}: {error}")

    def remove_damaged(self) -> None:
        """Forget the partitions that are damaged. Nobody must read or write them, and a recovery must follow."""
        for partition in self.damaged:
            self._dbs.pop(partition, None)
            gc.collect()  # closes it
            shutil.rmtree(self.partition_path(partition), ignore_errors=True)
            # Faust remembers how far it had read the changelog, and would go on from there.
            self.app.tables.recovery.revoke(TP(self.table.changelog_topic_name, partition))
        self.damaged.clear()

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Write what recovery and standby have read. A full disk ends the worker: Faust would log each record."""
        by_partition: defaultdict[int, list[Any]] = defaultdict(list)
        for event in batch:
            by_partition[event.message.partition].append(event)
        for partition, events in by_partition.items():
            if partition not in self.damaged:
                try:
                    super().apply_changelog_batch(list(self._not_older(partition, events)), to_key, to_value)
                    self.set_persisted_offset(events[-1].message.tp, events[-1].message.offset)
                except Exception as error:
                    self.failed(partition, error)
                    if NO_SPACE in str(error):
                        print(f"error: {self.path}: {NO_SPACE}: make room, then start again", file=sys.stderr)
                        raise SystemExit(NO_SPACE_STATUS) from None
                    if partition not in self.damaged:
                        raise

    def _not_older(self, partition: int, events: Iterable[Any]) -> Iterator[Any]:
        here: dict[bytes, bytes | None] = {}
        for event in events:
            key, value = event.message.key, event.message.value
            present = here[key] if key in here else self._db_for_partition(partition).get(key)
            here[key] = present
            if is_newer(value, present):
                here[key] = value
                yield event

    def _name(self, partition: int) -> str:
        return f"table {self.table_name}-{partition}"


def is_newer(value: bytes | None, present: bytes | None) -> bool:
    """Whether a row of a changelog is to replace the one that is here: not if its place is older."""
    return value is None or present is None or _place(value) >= _place(present)


def read_up_to(known: int, count: int, offset: int) -> int:
    """How far a worker knows the changelog, after it has put `count` rows there, the last at `offset`.

    It knew it up to `known`. If others have written in between, a recovery has to begin there.
    """
    return offset if known + count == offset else known


class _Row(msgspec.Struct):
    position: str


def _place(value: bytes) -> tuple[int, int]:
    """How new a row is: the place of its last event in its stream. One of the table of positions is a number itself."""
    row = msgspec.json.decode(value, type=_Row | int)
    if isinstance(row, int):
        return row, 0
    _, nr, index = row.position.rsplit(":", 2)
    return int(nr), int(index)


def _is_damage(error: Exception) -> bool:
    return any(words in str(error) for words in _DAMAGE)


STORES.aliases["local"] = f"{LocalStore.__module__}:{LocalStore.__name__}"
