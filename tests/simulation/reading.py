"""What whoever checks reads of the world: logs, what was published of their slices, and what tables hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from projections.applying.fold import evolved, reason_of
from projections.projection import PublishedEvent, RowError
from projections.stores.changelog import (
    PLACE,
    QUARANTINED,
    ROW,
    decode_place,
    decode_quarantined,
    is_newer,
    key_of,
    prefix_of,
    read_key,
)
from projections.stores.declaration import ReadModelRows, Table, projection_name
from projections.stores.rows import Checkpoint, Quarantined, StoredRow, decode_stored
from streams.journal.port import Commit, RecordedEvent, log_name
from streams.journal.position import BEGINNING, Place, parse_place, stream_name
from streams.slices import slice_of
from tests.simulation.account import EVENTS, KEPT, TYPE
from tests.simulation.topics import CHANGELOG

if TYPE_CHECKING:
    from tests.simulation.kafka import Record
    from tests.simulation.world import World


class Happened(NamedTuple):
    """An event, and where it stands."""

    commit: Commit
    index: int
    event: RecordedEvent


def log_of(world: World, slice: int) -> list[Commit]:
    """The commits of the logs that have had a slice, one after another."""
    return [it for span in world.layout.spans(slice) for it in world.store.log[log_name(TYPE, span.number)]]


def streams(world: World) -> dict[int, list[Happened]]:
    """The events of each slice, without notes."""
    return {slice: happened(world, slice) for slice in range(world.shape.partitions)}


def happened(world: World, slice: int) -> list[Happened]:
    """The events of one slice, without notes."""
    return [
        Happened(commit, index, event)
        for commit in log_of(world, slice)
        for index, event in enumerate(commit.events)
        if event.is_event and slice_of(event.aggregate_id, world.shape.partitions) == slice
    ]


def positions(stream: Iterable[Happened]) -> list[Place]:
    """Commit number and index of every event."""
    return [(commit.nr, index) for commit, index, _ in stream]


def published(records: Iterable[Record]) -> list[Place]:
    """Positions on an events topic, in the order of their first appearance above all before: what readers count."""
    found: list[Place] = []
    for record in records:
        if record.foreign:
            continue
        place = parse_place(dict(record.headers)["ce_position"].decode())
        if not found or place > found[-1]:
            found.append(place)
    return found


# -- tables --------------------------------------------------------------------------------------------


@dataclass
class TableContents:
    """What is kept of a table, or shall be: rows, place, and what waits by key."""

    rows: dict[str, StoredRow] = field(default_factory=dict)
    place: Checkpoint = field(default_factory=Checkpoint)
    waiting: dict[str, Quarantined] = field(default_factory=dict)
    touched: Place = BEGINNING
    """The last event that changes something: what is kept of the place may be as old."""


def folded(kept: Table, slice: int, stream: Sequence[Happened]) -> TableContents:
    """What a projection makes of the events of a slice, one by one."""
    projection, found = kept.projection, TableContents()
    for commit, index, stored in stream:
        place = (stored.aggregate_id, stored.sequence, "", stream_name(TYPE, slice), commit.nr, index)
        event = PublishedEvent(EVENTS.decode_one(stored.data), stored.type, *place)
        for key in projection.keys(event):
            found.touched = commit.nr, index
            waits = found.waiting.get(key)
            if waits is None:
                try:
                    former = found.rows.get(key)
                    row = evolved(projection, former.row if former else None, key, [event])
                except (ArithmeticError, LookupError, RowError) as error:
                    waits = Quarantined(event.position, reason_of(error), 0)
                else:
                    found.rows[key] = StoredRow(event.position, 0 if projection.local else stored.sequence, 0, row)
                    continue
            found.waiting[key] = Quarantined(waits.position, waits.error, waits.events + 1, event.position)
    if at := positions(stream):
        found.place = Checkpoint(*at[-1], at[-1][0])
    return found


def in_records(content: Mapping[bytes, bytes], table: str) -> TableContents:
    """What stands of a table in a database, or in what is recovered of a changelog."""
    found = TableContents()
    for record_key, value in content.items():
        if record_key.startswith((prefix_of(table, ROW), prefix_of(table, PLACE), prefix_of(table, QUARANTINED))):
            _, kind, key = read_key(record_key)
            if kind == ROW:
                found.rows[key] = replace(decode_stored(value), revision=0)
            elif kind == PLACE:
                found.place = decode_place(value)
            elif (quarantined := decode_quarantined(value)).events:
                found.waiting[key] = quarantined
    return found


def recovered(world: World, partition: int) -> dict[bytes, bytes]:
    """What a worker with an empty disk would have."""
    found: dict[bytes, bytes] = {}
    for record in world.kafka.topics[CHANGELOG].partitions[partition].records:
        if record.foreign:
            continue
        assert record.key is not None
        if record.value is None:
            found.pop(record.key, None)
        elif is_newer(read_key(record.key).kind, record.value, found.get(record.key)):
            found[record.key] = record.value
    return found


def shared(world: World, partition: int, table: str) -> TableContents:
    """What stands of a table in the read model."""
    kept = world.read_model.kept[partition, table]
    waiting = {key: quarantined for key, quarantined in kept.quarantined.items() if quarantined.events}
    rows = {key: replace(decode_stored(value), revision=0) for key, value in kept.rows.items()}
    return TableContents(rows, kept.place or Checkpoint(), waiting)


def last_change(world: World, partition: int, table: str, upto: Place) -> Place:
    """The place of the last event that changes something in a table, up to this one."""
    kept = next(kept for kept in KEPT if kept.name == projection_name(table))
    stream = [it for it in happened(world, partition) if (it.commit.nr, it.index) <= upto]
    return folded(kept, partition, stream).touched


def durable_place(world: World, partition: int, table: str) -> Place:
    """How far a table is for whoever takes it over."""
    kept = next(kept for kept in KEPT if kept.name == projection_name(table))
    if isinstance(kept.how, ReadModelRows):
        return (world.read_model.place(table, partition) or Checkpoint()).at
    key, at = key_of(table, PLACE), Checkpoint().at
    for record in world.kafka.partition(CHANGELOG, partition).records:
        if record.key == key and not record.foreign:
            at = Checkpoint().at if record.value is None else max(at, decode_place(record.value).at)
    return at
