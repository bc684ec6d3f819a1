"""Queries of one table in RocksDB. All of them raise `TableError`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from projections.stores.changelog import PLACE, QUARANTINED, ROW, decode_place, key_of, prefix_of, read_key
from projections.stores.local.indexes import CHANGE, change_key, count_prefix, entry_prefix, index_prefix, read_change
from projections.stores.local.rocksdb import RocksDBStore
from projections.stores.local.store import TableError
from projections.stores.rows import Checkpoint, is_gone, shown_json, split
from streams.concurrency.fairness import yield_if_due
from streams.journal.position import Place

AT_ONCE = 500
"""Rows that are read between two looks at the clock."""


class Change(NamedTuple):
    """A row that has changed at commit number and index, as it is stored now; it may have been removed."""

    at: Place
    key: str
    row: bytes


def row(store: RocksDBStore, partition: int, table: str, key: str) -> bytes | None:
    """The row of a key as JSON, as queries see it; None where there is no row, or it was removed."""
    value = store.get(partition, key_of(table, ROW, key))
    return None if value is None or is_gone(value) else shown_json(value)


def scan(
    store: RocksDBStore, partition: int, table: str, first: str = "", before: str | None = None
) -> Iterator[bytes]:
    """The rows from key `first` to before key `before`, in the order of UTF-8, as the JSON that the projection has
    returned. Not to be held over an await."""
    end = None if before is None else key_of(table, ROW, before)
    for key, value in _rows(store, partition, table, first):
        if end is not None and key >= end:
            return
        yield split(value)[1]


async def scan_in_turns(
    store: RocksDBStore, partition: int, table: str, first: str = "", before: str | None = None
) -> list[bytes]:
    """The rows of `scan` as they are at this moment, read in turns."""
    opened, read = store.opened(partition), list[bytes]()
    rows = scan(store, partition, table, first, before)  # RocksDB's iterators show the moment in which they are made
    while chunk := list(islice(rows, AT_ONCE)):
        read += chunk
        await yield_if_due()
        if store.opened(partition) is not opened:  # an iterator keeps the database open, and Faust waits for its end
            raise TableError(f"partition {partition} has just moved")
    return read


def _rows(store: RocksDBStore, partition: int, table: str, first: str) -> Iterator[tuple[bytes, bytes]]:
    for key, value in store.items(partition, prefix_of(table, ROW), key_of(table, ROW, first)):
        if not is_gone(value):
            yield key, value


def key_after(key: str) -> str:
    """The smallest key that is greater than this one."""
    return key + "\0"


def indexed(
    store: RocksDBStore, partition: int, table: str, index: str, value: str, after: str, most: int
) -> list[str]:
    """Up to `most` keys of rows under a value of an index, behind the key `after`, in order."""
    prefix = entry_prefix(table, index, value)
    start = prefix + key_after(after).encode() if after else b""
    return [entry[len(prefix) :].decode() for entry, _ in islice(store.items(partition, prefix, start), most)]


def in_order(
    store: RocksDBStore, partition: int, table: str, index: str, after: tuple[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """The values of an index with the keys of their rows, behind the value and key `after`, in the order of UTF-8. Not
    to be held over an await."""
    prefix = index_prefix(table, index)
    start = entry_prefix(table, index, after[0]) + key_after(after[1]).encode() if after else b""
    for entry, _ in store.items(partition, prefix, start):
        value, _, key = entry[len(prefix) :].decode().partition("\0")
        yield value, key


def listed(
    store: RocksDBStore, partitions: Collection[int], table: str, under: tuple[str, str] | None, after: str, most: int
) -> list[tuple[str, bytes]]:
    """Up to `most` keys and rows, by key, behind the key `after`: the rows `under` an index and value, or all rows.

    Rows are JSON, as queries see them.
    """
    keys: list[tuple[str, int]] = []
    rows: dict[str, bytes] = {}
    for partition in partitions:
        if under is not None:
            keys += ((key, partition) for key in indexed(store, partition, table, *under, after, most))
        else:
            for record_key, value in islice(_rows(store, partition, table, key_after(after) if after else ""), most):
                key = read_key(record_key).key
                keys.append((key, partition))
                rows[key] = value
    keys = sorted(keys)[:most]  # by code points, which is the order of UTF-8
    if under is not None:
        for partition in partitions:
            rows.update(store.get_many(partition, table, [key for key, of_key in keys if of_key == partition]))
    return [(key, shown_json(rows[key])) for key, _ in keys if key in rows]


def counts(store: RocksDBStore, partition: int, table: str, index: str) -> dict[str, int]:
    """The number of rows under each value of an index."""
    prefix = count_prefix(table, index)
    return {key[len(prefix) :].decode(): int(count) for key, count in store.items(partition, prefix) if int(count)}


def place(store: RocksDBStore, partition: int, table: str) -> Checkpoint:
    """The checkpoint of a table."""
    value = store.get(partition, key_of(table, PLACE))
    return Checkpoint() if value is None else decode_place(value)


def changes(store: RocksDBStore, partition: int, table: str, after: Place, most: int) -> list[Change]:
    """Up to `most` rows that have changed since commit number and index, oldest change first.

    No row beyond the checkpoint of the table: a worker that died while a batch went to the changelog may have left only
    some of its rows there. The others come when the batch is applied again, with older positions.
    """
    upto = place(store, partition, table).at
    changed: list[tuple[Place, str]] = []
    for entry, _ in store.items(partition, prefix_of(table, CHANGE), change_key(table, (after[0], after[1] + 1))):
        at, key = read_change(table, entry)
        if at > upto or len(changed) == most:
            break
        changed.append((at, key))
    rows: Mapping[str, bytes] = store.get_many(partition, table, [key for _, key in changed])
    return [Change(at, key, rows[key]) for at, key in changed if key in rows]


def refolded(store: RocksDBStore, partition: int, table: str) -> list[str]:
    """The keys that are or were in quarantine, or were folded anew: their rows may have changed while their positions
    stayed the same."""
    return [read_key(key).key for key, _ in store.items(partition, prefix_of(table, QUARANTINED))]


def raw(store: RocksDBStore, partition: int, table: str, key: str) -> bytes | None:
    """The bytes under a key (see `encode_stored`), also for a row that was removed."""
    return store.get(partition, key_of(table, ROW, key))


def keys(store: RocksDBStore, partition: int, table: str) -> Iterator[str]:
    """The keys of all rows, removed ones too. Not to be held over an await."""
    for key, _ in store.items(partition, prefix_of(table, ROW)):
        yield read_key(key).key
