"""What must hold of tables when everything has come to rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from projections.applying.fold import RowTooLarge
from projections.stores.declaration import Indexes, ReadModelRows, Table, projection_name
from projections.stores.local import queries
from projections.stores.rows import Checkpoint, decode_stored
from tests.simulation.account import KEPT, TYPE
from tests.simulation.disk import content_of
from tests.simulation.reading import TableContents, folded, in_records, recovered, shared, streams
from tests.simulation.topics import PROJECTION_LETTERS_TOPIC

if TYPE_CHECKING:
    from projections.stores.local.rocksdb import RocksDBStore
    from tests.simulation.faults import Slot
    from tests.simulation.world import World

Readers = dict[int, "Slot | None"]


def _tables(world: World, readers: Readers) -> str:
    """The tables of whoever keeps them, and what a new worker would recover, are the fold of the log."""
    for partition, stream in streams(world).items():
        reader, on_changelog = _reader(readers, partition), recovered(world, partition)
        for kept, tables in _kept(reader, partition):
            wanted = folded(kept, partition, stream)
            for table in tables:
                if isinstance(kept.how, ReadModelRows):
                    found = {"read model": shared(world, partition, table)}
                else:
                    found = {
                        "changelog": in_records(on_changelog, table),
                        "disk": in_records(content_of(reader.disk, partition), table),
                    }
                for where, it in found.items():
                    if text := _difference(wanted, it):
                        return f"{table} of partition {partition} in the {where}: {text}"
    return ""


def _reader(readers: Readers, partition: int) -> Slot:
    reader = readers[partition]
    assert reader is not None
    return reader


def _kept(reader: Slot, partition: int) -> Iterator[tuple[Table, list[str]]]:
    """Each projection with the tables that its worker keeps of it."""
    tables = reader.worker.source.partitions[partition].tables
    for kept in KEPT:
        yield kept, [table for table in tables if projection_name(table) == kept.name]


def _difference(wanted: TableContents, found: TableContents) -> str:
    if wanted.rows != found.rows:
        return f"the log gives {wanted.rows}, there is {found.rows}"
    place = Checkpoint(found.place.nr, found.place.index, found.place.complete)
    if wanted.place != place and not wanted.touched <= place.at < wanted.place.at:
        return f"it is at {place}, and not at {wanted.place}, or at {wanted.touched} at least"
    if wanted.waiting != found.waiting:
        return f"{wanted.waiting} wait, there is {found.waiting}"
    return ""


def _indexes(world: World, readers: Readers) -> str:
    """What rows are found by is what stands in them: entries, counts and the order of their changes."""
    for partition in range(world.shape.partitions):
        reader = _reader(readers, partition)
        for kept, tables in _kept(reader, partition):
            for table in tables:
                if (
                    isinstance(kept.how, Indexes)
                    and kept.how.changes
                    and (text := _index_difference(reader.worker.local[TYPE].store, partition, kept, kept.how, table))
                ):
                    return f"{table} of partition {partition}: {text}"
    return ""


def _index_difference(store: RocksDBStore, number: int, kept: Table, indexes: Indexes, table: str) -> str:
    raw = partial(queries.raw, store, number, table)
    rows = {key: decode_stored(raw(key) or b"") for key in queries.keys(store, number, table)}
    for name, of in indexes.values.items():
        listed: dict[str, list[str]] = {}
        for key, row in rows.items():
            if row.row is not None and (value := of(row.row)) is not None:
                listed.setdefault(value, []).append(key)
        counts = queries.counts(store, number, table, name)
        if counts != {value: len(keys) for value, keys in listed.items()}:
            return f"{listed} are listed by {name}, counted are {counts}"
        for value, keys in listed.items():
            found = queries.indexed(store, number, table, name, value, "", 1_000)
            if keys != found:
                return f"{keys} stand under {name} {value}, listed are {found}"
    changed = sorted(rows, key=lambda key: rows[key].at)
    told = [change.key for change in queries.changes(store, number, table, Checkpoint().at, 1_000)]
    return "" if changed == told else f"changed are {changed}, told are {told}"


def _waiting_events(world: World, readers: Readers) -> str:
    """Every event that waits behind a projection is in the dead letters."""
    for partition, stream in streams(world).items():
        letters = set()
        for record in world.kafka.topics[PROJECTION_LETTERS_TOPIC].partitions[partition].records:
            headers = {name: value.decode() for name, value in record.headers}
            if RowTooLarge.__name__ in headers["dl_reason"]:
                continue  # until its store took more
            letters.add((headers["dl_table"], headers["dl_key"], headers["ce_position"]))
        for kept, tables in _kept(_reader(readers, partition), partition):
            waiting = folded(kept, partition, stream).waiting
            for table in tables:
                for key, its in waiting.items():
                    found = {position for of, its_key, position in letters if (table, key) == (of, its_key)}
                    if its.events != len(found) or not {its.position, its.last} <= found:
                        return f"{table}: {key} waits from {its.position} to {its.last}, dead letters are {found}"
    return ""


INVARIANTS: dict[str, Callable[[Any, Readers], str]] = {
    "tables are a fold of the log": _tables,
    "indexes are those of the rows": _indexes,
    "what waits is kept": _waiting_events,
}
