"""One row folded anew from the log: after its projection was mended, or an event is to be left out.

Most of it is folded while the table goes on; only for the rest, and to keep the row, does the table stand still.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from projections.applying.event_reader import Event, EventReader
from projections.applying.fold import FoldResult, TableFold, encoded, evolved, reason_of, require_unchanged
from projections.applying.partition_processor import PartitionProcessor, PartitionTable
from projections.projection import PublishedEvent
from projections.stores.rows import Changes, Checkpoint, Quarantined, StoredRow, encode_row
from streams.journal.position import BEGINNING, parse_place


class RefoldedRow(msgspec.Struct, frozen=True):
    """What became of a row in one table: the position that it has now, None for none, and what it waits for still.

    When it waits where it did not, or earlier than it did, the row in the table is left as it is.
    """

    table: str
    partition: int
    key: str
    position: str | None
    waits: Quarantined | None = None


class RowRefold:
    """The row of a key from the beginning of the log to wherever it is told, or to where its projection raises.

    The row of an aggregate is folded from the aggregate's own events, any other from the whole log of the partition.
    """

    def __init__(self, reader: EventReader, stream: str, table: TableFold, key: str) -> None:
        self.row: StoredRow | None = None
        self.waits: Quarantined | None = None
        self._reader = reader
        self._stream = stream
        self._table = table
        self._key = key
        self._at = BEGINNING

    async def to(self, place: Checkpoint) -> None:
        """Fold the events up to this place. Raises what the journal raises."""
        before = place.nr, place.index + 1
        found: AsyncIterator[Sequence[Event]]
        if self._table.projection.local:
            found = self._reader.from_log(self._stream, self._at, before)
        else:
            found = self._reader.of_aggregate(self._stream, self._key, before)
        async for events in found:
            self._fold(events)
        self._at = max(self._at, place.at)

    def _fold(self, events: Sequence[Event]) -> None:
        projection = self._table.projection
        for event in events:
            if event.at <= self._at:
                continue
            self._at = event.at
            parts = [part for part in event.parts if not projection.local or self._key in projection.keys(part)]
            if parts or not projection.local:
                self._apply(event, parts)

    def _apply(self, event: Event, parts: Sequence[PublishedEvent]) -> None:
        projection, origin, row = self._table.projection, event.origin, self.row
        if self.waits is not None:
            self.waits = msgspec.structs.replace(self.waits, events=self.waits.events + 1, last=origin.position)
            return
        value = row.row if row is not None else None
        if origin.position not in self._table.skips:
            try:
                given, before = value, None if value is None else encode_row(value)
                value = evolved(projection, given, self._key, parts)
                if given is not None and before is not None and projection.row is None:
                    require_unchanged(given, before)
            except Exception as error:
                self.waits = Quarantined(origin.position, reason_of(error), 1, origin.position)
                return
        self.row = StoredRow(origin.position, 0 if projection.local else origin.sequence, 0, value)


async def fold_key(partition: PartitionProcessor, projection: str, key: str) -> list[RefoldedRow]:
    """Fold a row anew in all tables of a projection that are kept here; empty when there is no such row.

    Raises `Unavailable`, and what the journal raises.
    """
    tables = [table for table in partition.tables.values() if table.projection.name == projection]
    found = [await _fold(partition, table, key) for table in tables]
    return [row for row in found if row is not None]


async def fold_waiting(partition: PartitionProcessor, projection: str, position: str) -> list[RefoldedRow]:
    """Likewise the rows whose keys wait at a position. All batches that are applied from now on leave it out."""
    found: list[RefoldedRow | None] = []
    for table in [table for table in partition.tables.values() if table.projection.name == projection]:
        async with partition.standing(table):  # a batch that does not know of it yet is over
            keys = [key for key, waits in table.quarantined.items() if waits.position == position]
        found += [await _fold(partition, table, key) for key in keys]
    return [row for row in found if row is not None]


async def _fold(partition: PartitionProcessor, table: PartitionTable, key: str) -> RefoldedRow | None:
    fold = RowRefold(partition.reader, partition.stream, table, key)
    await fold.to(table.place)
    async with partition.standing(table):
        await fold.to(table.place)
        loaded = await table.rows.load(partition.number, table.table, [key])
        row = fold.row
        present = loaded.get(key)
        if row is None and table.projection.local and present is not None:  # no event of the log touches it
            row = StoredRow(present.position)
        was = table.quarantined.get(key)
        if row is not None:
            largest = await table.rows.largest_row()
            try:
                encoded(row, key, largest)
            except Exception as error:
                at = was.position if was is not None else row.position
                return RefoldedRow(
                    table.table, partition.number, key, row.position, Quarantined(at, reason_of(error), 1)
                )
            row = _revised(row, present)
        if row is None and was is None and fold.waits is None:
            return None
        result = RefoldedRow(table.table, partition.number, key, row.position if row is not None else None, fold.waits)
        if fold.waits is not None and (was is None or parse_place(fold.waits.position) < parse_place(was.position)):
            return result
        released = row.position if row is not None else was.last or was.position if was is not None else ""
        waits = fold.waits or Quarantined(released, "", 0, released)
        changes = Changes(table.place, {key: row} if row is not None else {}, {key: waits}, loaded)
        await table.rows.save(partition.number, {table.table: changes})
        table.kept(FoldResult(changes))
    await partition.moved()
    return result


def _revised(row: StoredRow, present: StoredRow | None) -> StoredRow:
    """A row in the place of the present one: who has seen that one at the same position is to see this one too."""
    if present is None or row.position != present.position:
        return row
    return msgspec.structs.replace(row, revision=present.revision + (row.row != present.row))
