"""Every row of every table, read from the outside, beside a fold of the log that knows nothing of lanes and stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rocksdict import AccessType, Options, Rdict

from aggregates.shop.checkout import checkout
from aggregates.shop.order import order
from aggregates.shop.product import product
from aggregates.shop.user import user
from aggregates.timer import timer
from projections.projection import PublishedEvent
from projections.shop.wiring import TABLES
from projections.stores.changelog import PLACE, ROW, is_newer, read_key
from projections.stores.declaration import Indexes, ReadModelRows, Table, table_name
from projections.stores.rows import StoredRow, decode_stored, encode_stored
from projections.stores.shared.opening import open_rows
from projections.timers.projection import kept as timers
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.journal.port import Commit
from tests.e2e.system import System

Rows = dict[str, StoredRow]
DECIDERS: Mapping[str, Any] = {
    "order": order,
    "product": product,
    "user": user,
    "checkout": checkout.decider,
    "timer": timer.decider,
}


class Compared(NamedTuple):
    """How many rows were held against the log, in how many tables and copies; they were all equal."""

    rows: int
    tables: int


def tables_of(type: str) -> dict[str, Table]:
    """The shop's tables of an aggregate type, as they are first built."""
    its = [kept for kept in [*TABLES, timers] if kept.projection.source == type]
    return {table_name(kept.name, kept.projection.version): kept for kept in its}


def folded(kept: Table, codec: Codec, log: Sequence[Commit]) -> Rows:
    """The rows that the log of one partition makes, as JSON has them."""
    projection, rows = kept.projection, dict[str, StoredRow]()
    for commit in log:
        time = commit.recorded_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for index, it in enumerate(commit.events):
            if not it.is_event:
                continue
            place = (it.aggregate_id, it.sequence, time, commit.stream, commit.nr, index)
            for value in codec.decode(it.data):
                event = PublishedEvent(value, type(value).__name__, *place, it.correlation_id)
                for key in projection.keys(event):
                    before = rows[key].row if key in rows else None
                    row = projection.after(before, key, event)
                    rows[key] = StoredRow(event.position, 0 if projection.local else it.sequence, 0, row)
    return {key: decode_stored(encode_stored(row)) for key, row in rows.items()}


async def on_the_changelog(system: System, name: str) -> dict[tuple[int, str], Rows]:
    """The rows of a changelog topic by partition and table: of each key the record with the newest position."""
    records: dict[tuple[int, bytes], bytes] = {}
    for record in await system.read(name):
        at = record.partition, record.key
        if record.value is None:
            records.pop(at, None)
        elif is_newer(read_key(record.key).kind, record.value, records.get(at)):
            records[at] = record.value
    return _rows((partition, key, value) for (partition, key), value in records.items())


def on_disk(folder: Path, type: str, partition: int) -> dict[tuple[int, str], Rows]:
    """The rows of a partition in a worker's RocksDB, in which nobody writes meanwhile."""
    path = folder / "v1" / "tables" / f"{type}-rows-{partition}.db"
    db = Rdict(str(path), options=Options(raw_mode=True), access_type=AccessType.read_only())
    try:
        return _rows((partition, key, value) for key, value in db.items() if b"\0" + ROW in key)
    finally:
        db.close()


def _rows(records: Iterator[tuple[int, bytes, bytes]]) -> dict[tuple[int, str], Rows]:
    found: dict[tuple[int, str], Rows] = {}
    for partition, record_key, value in records:
        if record_key.startswith(b"__faust"):
            continue
        table, kind, key = read_key(record_key)
        if kind in (ROW, PLACE):
            rows = found.setdefault((partition, table), {})
            if kind == ROW:
                rows[key] = decode_stored(value)
    return found


async def check_tables(system: System, type: str, commits: Mapping[int, list[Commit]]) -> Compared:
    """All tables of a type in all partitions, as changelogs and read model have them, are folds of the log."""
    codec = _codec(type)
    changelogs = {
        kind: await on_the_changelog(system, f"projections-{type}-{kind}-changelog")
        for kind in ("rows", "sql")
        if f"{system.namespace}projections-{type}-{kind}-changelog" in await system.topics()
    }
    model = open_rows(system.journal_url, system.namespace)
    await model.open()
    count = tables = 0
    try:
        for table, kept in tables_of(type).items():
            for partition, log in commits.items():
                expected = folded(kept, codec, log)
                if isinstance(kept.how, ReadModelRows):
                    actual = dict(await model.load(partition, table, list(expected)))
                else:
                    kind = "rows" if isinstance(kept.how, Indexes) else "sql"
                    actual = changelogs[kind].get((partition, table), {})
                assert expected == actual, f"{table} in partition {partition}"
                count, tables = count + len(expected), tables + 1
    finally:
        await model.close()
    return Compared(count, tables)


def check_disk(folders: Mapping[int, Path], type: str, commits: Mapping[int, list[Commit]]) -> Compared:
    """Likewise the RocksDB of those who had the partitions last; by partition their folders. They have ended."""
    codec = _codec(type)
    count = tables = 0
    for partition, folder in folders.items():
        found = on_disk(folder, type, partition)
        for table, kept in tables_of(type).items():
            if isinstance(kept.how, Indexes):
                expected = folded(kept, codec, commits[partition])
                assert expected == found.get((partition, table), {}), f"{table} in partition {partition}"
                count, tables = count + len(expected), tables + 1
    return Compared(count, tables)


def _codec(type: str) -> Codec:
    schemas, decider = Schemas.load("engine" if type == "timer" else "shop", type), DECIDERS[type]
    return Codec([s for s in schemas if s.name not in decider.commands], decider.events, schemas.upcasters)
