"""What a batch of events makes of one table: each touched row is loaded once, folded, and kept once.

A row keeps the position of the last event applied to it, and an event that is not newer is left out, so delivery may
repeat as it likes; a row that is removed leaves its position behind for that.

A projection that raises has a bug, or met an event that it was not made for. The key of that row is then in quarantine:
the row stays as it was, this event and all later ones of the key wait, and the other keys go on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from projections.events import Event
from projections.projection import Projection, PublishedEvent, Row
from projections.rows import GONE, Changes, Place, Quarantined, Rows, position_of
from projections.turns import few, our_turn

log = logging.getLogger(__name__)


class MissingEvents(Exception):
    """An aggregate's sequence jumps: events are missing on the way, before `at`, and the row would be wrong."""

    def __init__(self, text: str, at: tuple[int, int]) -> None:
        super().__init__(text)
        self.at = at


@dataclass
class Folded:
    """What became of a table, and the events that now wait: with the key and the reason of each."""

    changes: Changes
    waiting: Sequence[tuple[Event, str, str]] = ()


@dataclass
class TableFold:
    """One table in one partition of the events: how far it is, which keys wait, which positions are skipped."""

    table: str
    projection: Projection
    rows: Rows
    partition: int
    place: Place = field(default_factory=Place)
    quarantined: dict[str, Quarantined] = field(default_factory=dict)
    skips: Mapping[str, str] = field(default_factory=dict)

    async def fold(self, events: Sequence[Event]) -> Folded | None:
        """Fold what is newer than its place; None when nothing is. Changes nothing here: see `kept`.

        Raises `MissingEvents`, and what the store raises.
        """
        newest = self.place.at
        new: list[Event] = []
        for event in events:  # a late duplicate takes nothing back
            if event.at > newest:
                newest = event.at
                new.append(event)
        if not new:
            return None
        await our_turn()
        touched = _touched(self.projection, new)
        loaded = await self.rows.load(self.partition, self.table, dict.fromkeys(key for _, key, _ in touched))
        batch = _Batch(self, dict(loaded))
        for some in few(touched):
            await our_turn()
            for event, key, parts in some:
                batch.apply(event, key, parts)
        last = new[-1]
        complete = max(last.complete, self.place.complete)
        # Of an event that was read from the log nobody knows where it stands in the topic.
        place = Place(*last.at, complete, last.next_offset if last.next_offset > 0 else self.place.offset)
        return Folded(Changes(place, batch.changed, batch.quarantined, loaded), batch.waiting)

    def kept(self, folded: Folded) -> None:
        """The store has it."""
        self.place = folded.changes.place
        for key, quarantined in folded.changes.quarantined.items():
            if quarantined.events:
                self.quarantined[key] = quarantined
            else:
                self.quarantined.pop(key, None)


class _Batch:
    def __init__(self, table: TableFold, rows: dict[str, Row]) -> None:
        self._table = table
        self._rows = rows
        self.changed: dict[str, Row] = {}
        self.quarantined: dict[str, Quarantined] = {}
        self.waiting: list[tuple[Event, str, str]] = []

    def apply(self, event: Event, key: str, parts: Sequence[PublishedEvent]) -> None:
        table, projection, origin = self._table, self._table.projection, event.origin
        row = self._rows.get(key)
        if row is not None and event.at <= position_of(row):
            return
        waits = self.quarantined.get(key) or table.quarantined.get(key)
        if waits is not None and waits.events:
            self._wait(event, key, waits)
            return
        if not projection.local:
            known = row["sequence"] if row is not None else 0
            if origin.sequence != known + 1:
                raise MissingEvents(
                    f"{table.table}: {projection.source} {key} stands at sequence {known}, "
                    f"{origin.position} brings {origin.sequence}",
                    event.at,
                )
        if origin.position not in table.skips:
            try:
                row = evolved(projection, row, key, parts)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                log.error("%s: %s waits at %s: %s", table.table, key, origin.position, reason, exc_info=True)
                self._wait(event, key, Quarantined(origin.position, reason, 0))
                return
        row = {**({GONE: True} if row is None else row), "position": origin.position}
        if not projection.local:
            row["sequence"] = origin.sequence
        self._rows[key] = self.changed[key] = row

    def _wait(self, event: Event, key: str, waits: Quarantined) -> None:
        if waits.events and event.at <= waits.at:
            return  # it is counted: what was kept of the quarantine is newer than the place
        position = event.origin.position
        self.quarantined[key] = Quarantined(waits.position, waits.error, waits.events + 1, position)
        self.waiting.append((event, key, waits.error))


def evolved(projection: Projection, row: Row | None, key: str, parts: Sequence[PublishedEvent]) -> Row | None:
    """A row after one stored event, whose parts are applied together. Raises what the projection raises."""
    if row is not None and GONE in row:
        row = None
    for part in parts:
        row = projection.evolve(row, key, part)
    return row


def _touched(projection: Projection, events: Sequence[Event]) -> list[tuple[Event, str, Sequence[PublishedEvent]]]:
    """Which rows each event touches, and by which of its parts."""
    if not projection.local:
        # The row of its aggregate it touches even where nothing came of it: the row counts the aggregate's sequence.
        return [(event, event.origin.aggregate_id, event.parts) for event in events]
    touched: list[tuple[Event, str, Sequence[PublishedEvent]]] = []
    for event in events:
        by_key: dict[str, list[PublishedEvent]] = {}
        for part in event.parts:
            for key in projection.keys(part):
                by_key.setdefault(key, []).append(part)
        touched += [(event, key, parts) for key, parts in by_key.items()]
    return touched
