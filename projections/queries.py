"""What views ask of rows in RocksDB: one partition, one table, as queries see them. All raise `TableError`."""

from __future__ import annotations

from collections.abc import Iterator

from projections.changelog import ROW, is_gone, key_of, prefix_of, read_key
from projections.indexes import CHANGE, PLACE_BYTES, change_key, count_prefix, entry_prefix
from projections.local_store import LocalStore


def row(store: LocalStore, partition: int, table: str, key: str) -> bytes | None:
    """The row of a key, as JSON; None for none, and for one that was removed."""
    value = store.get(partition, key_of(table, ROW, key))
    return None if value is None or is_gone(value) else value


def scan(
    store: LocalStore, partition: int, table: str, first: str = "", before: str | None = None
) -> Iterator[bytes]:
    """The rows from one key on and up to another, that one not included, in the order of their keys in UTF-8. Not to be
    held over an await."""
    begin = prefix_of(table, ROW)
    end = None if before is None else begin + before.encode()
    for key, value in store.items(partition, begin, begin + first.encode()):
        if end is not None and key >= end:
            return
        if not is_gone(value):
            yield value


def behind(key: str) -> str:
    """The first key that may stand behind another."""
    return key + "\0"


def indexed(
    store: LocalStore, partition: int, table: str, index: str, value: str, after: str, most: int
) -> list[bytes]:
    """Up to so many rows that stand under a value of an index, by their keys, behind the key `after`."""
    prefix = entry_prefix(table, index, value)
    start = prefix + after.encode() + b"\0" if after else b""
    keys: list[str] = []
    for entry, _ in store.items(partition, prefix, start):
        keys.append(entry[len(prefix) :].decode())
        if len(keys) == most:
            break
    return list(store.get_many(partition, table, keys).values())


def counts(store: LocalStore, partition: int, table: str, index: str) -> dict[str, int]:
    """How many rows stand under each value of an index."""
    prefix = count_prefix(table, index)
    return {key[len(prefix) :].decode(): int(count) for key, count in store.items(partition, prefix) if int(count)}


def changed_since(store: LocalStore, partition: int, table: str, at: tuple[int, int], most: int) -> list[str]:
    """Up to so many keys whose rows have changed since commit number and index, those that were removed too, the one
    that has changed first at the beginning."""
    prefix = prefix_of(table, CHANGE)
    found: list[str] = []
    for entry, _ in store.items(partition, prefix, change_key(table, (at[0], at[1] + 1))):
        found.append(entry[len(prefix) + PLACE_BYTES :].decode())
        if len(found) == most:
            break
    return found


def raw(store: LocalStore, partition: int, table: str, key: str) -> bytes | None:
    """What stands under a key, also when it is only what a removed row has left."""
    return store.get(partition, key_of(table, ROW, key))


def keys(store: LocalStore, partition: int, table: str) -> Iterator[str]:
    """The keys of all rows, those that were removed too. Not to be held over an await."""
    for key, _ in store.items(partition, prefix_of(table, ROW)):
        yield read_key(key).key
