"""Every row of every table, read from the outside, beside a fold of the log without processors and stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rocksdict import AccessType, Options, Rdict

from aggregates.shop.checkout import checkout
from aggregates.shop.order import order
from aggregates.shop.product import product
from aggregates.shop.user import user
from aggregates.timer import timer
from projections.projection import PublishedEvent
from projections.shop.wiring import TABLES
from projections.stores.changelog import PLACE, ROW, decode_place, is_newer, read_key
from projections.stores.declaration import Indexes, ReadModelRows, Table, table_name
from projections.stores.local.partition_view import PartitionView
from projections.stores.rows import Checkpoint, StoredRow, decode_stored, encode_stored
from projections.stores.shared.opening import open_rows
from projections.timers.projection import kept as timers
from schemas.codec import Codec
from schemas.registry import Schemas
from schemas.sealing import Place
from streams.journal.port import Commit
from streams.journal.position import stream_name
from tests.e2e.client import partition_of
from tests.e2e.system import System

Rows = dict[str, StoredRow]
SHOWN = 5
"""Rows that are shown of those that differ."""
DECIDERS: Mapping[str, Any] = {
    "order": order,
    "product": product,
    "user": user,
    "checkout": checkout.decider,
    "timer": timer.decider,
}


class Copy(NamedTuple):
    """What somebody has of a table in one partition, and how far it is by its own words."""

    rows: Rows
    place: Checkpoint = Checkpoint()


Copies = dict[tuple[int, str], Copy]
"""By partition and table."""


class Compared(NamedTuple):
    """How many rows were held against the log, in how many tables and copies; they were all equal."""

    rows: int
    tables: int


def tables_of(type: str) -> dict[str, Table]:
    """The shop's tables of an aggregate type, as they are first built."""
    its = [kept for kept in [*TABLES, timers] if kept.projection.source == type]
    return {table_name(kept.name, kept.projection.version): kept for kept in its}


def by_slice(commits: Mapping[int, list[Commit]]) -> dict[int, list[Commit]]:
    """The commits of each partition, by the logs that have had it."""
    slices: dict[int, list[Commit]] = {}
    for log in commits.values():
        for commit in log:
            for slice in commit.slices:
                slices.setdefault(slice, []).append(commit)
    return slices


def folded(kept: Table, codec: Codec, log: Sequence[Commit], partition: int) -> Rows:
    """The rows that the events of one partition in a log make, as JSON has them."""
    projection, rows = kept.projection, dict[str, StoredRow]()
    stream = stream_name(projection.source, partition)
    for commit in log:
        time = commit.recorded_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for index, it in enumerate(commit.events):
            if not it.is_event or partition_of(it.aggregate_id) != partition:
                continue
            place = (it.aggregate_id, it.sequence, time, stream, commit.nr, index)
            for value in codec.decode(it.data, Place(it.aggregate_id, it.sequence)):
                event = PublishedEvent(value, type(value).__name__, *place, it.correlation_id)
                for key in projection.keys(event):
                    before = rows[key].row if key in rows else None
                    row = projection.after(before, key, event)
                    rows[key] = StoredRow(event.position, 0 if projection.local else it.sequence, 0, row)
    return {key: decode_stored(encode_stored(row)) for key, row in rows.items()}


async def on_the_changelog(system: System, name: str) -> Copies:
    """The rows of a changelog topic: of each key the record with the newest position."""
    records: dict[tuple[int, bytes], bytes] = {}
    for record in await system.read(name):
        at = record.partition, record.key
        if record.value is None:
            records.pop(at, None)
        elif is_newer(read_key(record.key).kind, record.value, records.get(at)):
            records[at] = record.value
    return _copies((partition, key, value) for (partition, key), value in records.items())


def on_disk(folder: Path, type: str, partition: int) -> Copies:
    """The rows of a partition in a worker's RocksDB, in which nobody writes meanwhile."""
    path = folder / "v1" / "tables" / f"{type}-rows.db"
    db = Rdict(str(path), options=Options(raw_mode=True), access_type=AccessType.read_only())
    try:
        return _copies((partition, key, value) for key, value in PartitionView(db, partition).items(b""))
    finally:
        db.close()


def _copies(records: Iterator[tuple[int, bytes, bytes]]) -> Copies:
    found: Copies = {}
    for partition, record_key, value in records:
        if record_key.partition(b"\0")[2][:1] not in (ROW, PLACE):
            continue  # an entry of an index, a key in quarantine, or Faust's own
        table, kind, key = read_key(record_key)
        copy = found.setdefault((partition, table), Copy({}))
        if kind == ROW:
            copy.rows[key] = decode_stored(value)
        else:
            found[partition, table] = copy._replace(place=decode_place(value))
    return found


async def check_tables(system: System, type: str, commits: Mapping[int, list[Commit]]) -> Compared:
    """All tables of a type in all partitions, as changelogs and read model have them, are folds of the log."""
    codec = _codec(type)
    changelogs = {
        kind: await on_the_changelog(system, _changelog(type, kind))
        for kind in ("rows", "sql")
        if system.topic(_changelog(type, kind)) in await system.topics()
    }
    model = open_rows(system.journal_url, system.namespace)
    await model.open()
    count = tables = 0
    try:
        for table, kept in tables_of(type).items():
            for partition, log in by_slice(commits).items():
                expected = folded(kept, codec, log, partition)
                if isinstance(kept.how, ReadModelRows):
                    place = (await model.places(partition)).get(table, Checkpoint())
                    copy = Copy(dict(await model.load(partition, table, list(expected))), place)
                else:
                    kind = "rows" if isinstance(kept.how, Indexes) else "sql"
                    copy = changelogs[kind].get((partition, table), Copy({}))
                if expected != copy.rows:
                    pytest.fail(differences(f"{table} in partition {partition}", log, expected, {"kept": copy}))
                count, tables = count + len(expected), tables + 1
    finally:
        await model.close()
    return Compared(count, tables)


async def check_disk(
    system: System, folders: Mapping[int, Path], type: str, commits: Mapping[int, list[Commit]]
) -> Compared:
    """Likewise the RocksDB of those who had the partitions last; by partition their folders. They have ended."""
    codec = _codec(type)
    count = tables = 0
    for partition, folder in folders.items():
        found = on_disk(folder, type, partition)
        for table, kept in tables_of(type).items():
            if isinstance(kept.how, Indexes):
                at, log = (partition, table), by_slice(commits)[partition]
                expected, copy = folded(kept, codec, log, partition), found.get((partition, table), Copy({}))
                if expected != copy.rows:
                    changelog = (await on_the_changelog(system, _changelog(type, "rows"))).get(at, Copy({}))
                    copies = {f"disk of {folder.name}": copy, "changelog": changelog}
                    pytest.fail(differences(f"{table} in partition {partition}", log, expected, copies))
                count, tables = count + len(expected), tables + 1
    return Compared(count, tables)


def differences(what: str, log: Sequence[Commit], expected: Rows, copies: Mapping[str, Copy]) -> str:
    """What copies of a table have otherwise than the log, for people; of the first, which is the wrong one, some rows.

    What a copy lacks behind its own place it was not given; what it lacks before that, it has lost.
    """
    ends = f"ends with commit {log[-1].nr} of {log[-1].recorded_at:%H:%M:%S.%f}" if log else "is empty"
    said = [f"{what}: the log {ends}, and makes {len(expected)} rows, the newest at {max(_positions(expected))}"]
    for name, copy in copies.items():
        different = _different(expected, copy.rows)
        behind = [key for key in different if key in expected and expected[key].at > copy.place.at]
        said.append(
            f"{name}: {len(copy.rows)} rows, its place is {copy.place.at}; {len(different)} rows differ,"
            f" {len(behind)} of them have their last event behind that place"
        )
    for key in _different(expected, next(iter(copies.values())).rows)[:SHOWN]:
        said += [key, f"  log: {expected.get(key)}", *(f"  {name}: {it.rows.get(key)}" for name, it in copies.items())]
    return "\n".join(said)


def _different(expected: Rows, actual: Rows) -> list[str]:
    return [key for key in {**expected, **actual} if expected.get(key) != actual.get(key)]


def _positions(rows: Rows) -> list[tuple[int, int]]:
    return [Checkpoint().at, *(row.at for row in rows.values())]


def _changelog(type: str, kind: str) -> str:
    return f"projections-{type}-{kind}-changelog"


def _codec(type: str) -> Codec:
    schemas, decider = Schemas.load("engine" if type == "timer" else "shop", type), DECIDERS[type]
    return Codec([s for s in schemas if s.name not in decider.commands], decider.events, schemas.upcasters)
