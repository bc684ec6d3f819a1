"""One row folded anew from the log, up to where its table is."""

from __future__ import annotations

from projections.events import EventReader
from projections.fold import TableFold, evolved
from projections.projection import Row
from projections.rows import GONE


async def fold_key(reader: EventReader, stream: str, table: TableFold, key: str) -> Row | None:
    """The row of a key after all events up to the table's place; None when there never was one.

    The row of an aggregate is folded from the aggregate's own events, any other from the whole log of the partition.
    Raises what the projection raises, and what the journal raises.
    """
    projection = table.projection
    nr, index = table.place.at
    before = nr, index + 1
    found = reader.from_log(stream, (0, -1), before) if projection.local else reader.of_aggregate(stream, key, before)
    row: Row | None = None
    async for events in found:
        for event in events:
            parts = [part for part in event.parts if not projection.local or key in projection.keys(part)]
            if projection.local and not parts:
                continue
            origin = event.origin
            if origin.position not in table.skips:
                row = evolved(projection, row, key, parts)
            row = {**({GONE: True} if row is None else row), "position": origin.position}
            if not projection.local:
                row["sequence"] = origin.sequence
    return row
