"""What a batch of events makes of one table: each touched row is loaded once, folded, and kept once.

A row keeps the position of the last event applied to it, and an event that is not newer is left out, so delivery may
repeat as it likes; a row that is removed leaves its position behind for that. The position stands in the row's
envelope (`rows.Stored`), apart from what the projection has returned.

A projection that raises has a bug, or met an event that it was not made for. The key of that row is then in quarantine:
the row stays as it was, this event and all later ones of the key wait, and the other keys go on. So it is with a row
that its store would not take: it is too large, or no JSON can be made of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from projections.applying.event_reader import Event
from projections.projection import Projection, PublishedEvent, Row, RowError
from projections.stores.rows import Changes, Checkpoint, Quarantined, Rows, StoredRow, encode_row, encode_stored
from streams.concurrency.fairness import in_turns
from streams.journal.position import Place

log = logging.getLogger(__name__)

MOST_WAITING = 2_000
"""Keys of a table that may wait in one partition: with more the projection is wrong, and not some events."""
MOST_REASON = 300
"""Characters of the reason why a key waits."""
PLACE_EVENTS, PLACE_SECONDS = 500, 10.0
"""A checkpoint that moves while no row changes is stored when it has passed so many events, or so long after the last
one. Stored with each batch it would cost a table more than its rows do: with many partitions a batch is one event, and
most events concern few tables."""


class TooManyWait(Exception):
    """So many keys of a table wait that it stands still: mend its projection and build it anew."""


class MissingEvents(Exception):
    """An aggregate's sequence jumps: events are missing on the way, before `at`, and the row would be wrong."""

    def __init__(self, text: str, at: Place) -> None:
        super().__init__(text)
        self.at = at


@dataclass
class FoldResult:
    """What became of a table, and the events that now wait: with the key and the reason of each."""

    changes: Changes
    waiting: Sequence[tuple[Event, str, str]] = ()
    events: int = 0
    """How many were folded."""
    touches: bool = False
    """Whether some of them touch a row, be it that the row has them already."""


@dataclass(eq=False)
class TableFold:
    """One table in one partition of the events: how far it is, which keys wait, which positions are skipped."""

    table: str
    projection: Projection
    rows: Rows
    partition: int
    place: Checkpoint = field(default_factory=Checkpoint)
    quarantined: dict[str, Quarantined] = field(default_factory=dict)
    skips: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True
    """Whether events that the topic lacks can be had elsewhere: then no sequence may jump."""
    said: set[tuple[str, str]] = field(default_factory=set)
    """Keys that are about to wait, and at which position: a batch that cannot be kept is folded again and again."""
    unsaved: int = 0
    """Events that `place` has passed and the stored checkpoint has not: none of them changes a row, so whoever goes on
    from there passes them again."""
    _saved_at: float = float("-inf")

    async def fold(self, events: Sequence[Event]) -> FoldResult | None:
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
        if len(self.quarantined) >= MOST_WAITING:
            raise TooManyWait(
                f"{len(self.quarantined)} keys of {self.table} wait: mend the projection {self.projection.name}, then"
                f" `projections rebuild {self.projection.name}`"
            )
        touched = [touch async for some in in_turns(new) for touch in touched_by(self.projection, some)]
        if not touched:
            return FoldResult(Changes(self._place_behind(new)), events=len(new))
        loaded = await self.rows.load(self.partition, self.table, dict.fromkeys(key for _, key, _ in touched))
        batch = _Batch(self, loaded, touched)
        async for some in in_turns(touched):
            for event, key, parts in some:
                batch.apply(event, key, parts)
        largest = await self.rows.largest_row()
        async for keys in in_turns(list(batch.changed)):
            for key in keys:
                batch.encode(key, largest)
        place = self._place_behind(new)
        changes = Changes(place, batch.changed, batch.quarantined, loaded, batch.encoded)
        return FoldResult(changes, batch.waiting, len(new), touches=True)

    def _place_behind(self, new: Sequence[Event]) -> Checkpoint:
        last = new[-1]
        complete = max(last.complete, self.place.complete)
        # Of an event that was read from the log nobody knows where it stands in the topic.
        return Checkpoint(*last.at, complete, last.next_offset if last.next_offset > 0 else self.place.offset)

    def must_be_stored(self, folded: FoldResult) -> bool:
        """Whether a store is to have it now: what moves the checkpoint alone may wait."""
        # Also where rows had it all: who was cut off after them has left a checkpoint before what they hold.
        if folded.touches or self.unsaved + folded.events >= PLACE_EVENTS:
            return True
        return time.monotonic() - self._saved_at >= PLACE_SECONDS

    def kept(self, folded: FoldResult, is_stored: bool = True) -> None:
        """The store has it, or need not have it yet."""
        self.place = folded.changes.place
        if is_stored:
            self.unsaved, self._saved_at = 0, time.monotonic()
        else:
            self.unsaved += folded.events
        self.said.clear()
        for key, quarantined in folded.changes.quarantined.items():
            if quarantined.events:
                self.quarantined[key] = quarantined
            else:
                self.quarantined.pop(key, None)


Touched = tuple[Event, str, Sequence[PublishedEvent]]
"""An event, the key of a row that it touches, and those of its parts that do."""


class _Batch:
    def __init__(self, table: TableFold, loaded: Mapping[str, StoredRow], touched: Sequence[Touched]) -> None:
        self._table = table
        self._loaded = loaded
        self._touched = touched
        self._rows = dict(loaded)
        self._traced = ""
        self._given: dict[str, tuple[Row, bytes]] = {}
        """The first row of each key that `evolve` is given, and as it was then: it may be the one of `loaded`."""
        self.changed: dict[str, StoredRow] = {}
        self.encoded: dict[str, bytes] = {}
        self.quarantined: dict[str, Quarantined] = {}
        self.waiting: list[tuple[Event, str, str]] = []

    def apply(self, event: Event, key: str, parts: Sequence[PublishedEvent]) -> None:
        table, projection, origin = self._table, self._table.projection, event.origin
        row = self._rows.get(key)
        if row is not None and event.at <= row.at:
            return
        waits = self.quarantined.get(key) or table.quarantined.get(key)
        if waits is not None and waits.events:
            self._wait(event, key, waits)
            return
        if table.whole and not projection.local:
            known = row.sequence if row is not None else 0
            if origin.sequence != known + 1:
                raise MissingEvents(
                    f"{table.table}: {projection.source} {key} stands at sequence {known}, "
                    f"{origin.position} brings {origin.sequence}",
                    event.at,
                )
        value = row.row if row is not None else None
        position = origin.position
        if position not in table.skips:
            try:
                if value is not None and key not in self._given and projection.row is None:
                    self._given[key] = value, encode_row(value)
                value = evolved(projection, value, key, parts)
            except Exception as error:
                self._set_aside(event, key, error)
                return
        sequence = 0 if projection.local else origin.sequence
        self._rows[key] = self.changed[key] = StoredRow(position, sequence, 0, value)

    def encode(self, key: str, largest: int) -> None:
        """Encode a row that has changed; where that cannot be, or the store would not take it, its key waits."""
        try:
            if key in self._given:
                require_unchanged(*self._given[key])
            self.encoded[key] = encoded(self.changed[key], key, largest)
        except Exception as error:
            del self.changed[key]
            self.quarantined.pop(key, None)
            self.waiting = [waits for waits in self.waiting if waits[1] != key]
            loaded = self._loaded.get(key)
            for event in (event for event, touched, _ in self._touched if touched == key):
                if loaded is None or event.at > loaded.at:
                    self._set_aside(event, key, error)

    def _set_aside(self, event: Event, key: str, error: Exception) -> None:
        waits = self.quarantined.get(key)
        if waits is None:
            table, position, reason = self._table.table, event.origin.position, reason_of(error)
            # A bug that many keys meet is shown once.
            trace = self._traced != type(error).__name__ and not isinstance(error, _SAID_IN_A_LINE)
            self._traced = type(error).__name__ if trace else self._traced
            if (key, position) not in self._table.said:
                self._table.said.add((key, position))
                log.error("%s: %s waits at %s: %s", table, key, position, reason, exc_info=error if trace else None)
            waits = Quarantined(position, reason, 0)
        self._wait(event, key, waits)

    def _wait(self, event: Event, key: str, waits: Quarantined) -> None:
        if waits.events and event.at <= waits.at:
            return  # it is counted: what was kept of the quarantine is newer than the place
        position = event.origin.position
        self.quarantined[key] = Quarantined(waits.position, waits.error, waits.events + 1, position)
        self.waiting.append((event, key, waits.error))


class RowTooLarge(Exception):
    """A row that its store does not take; sizes in bytes."""


_SAID_IN_A_LINE = (RowTooLarge, RowError, RecursionError)


def encoded(row: StoredRow, key: str, largest: int) -> bytes:
    """A row as it is kept. Raises `RowTooLarge`, and what `encode_stored` raises."""
    value = encode_stored(row)
    size = len(value) + len(key.encode())
    if size > largest:
        raise RowTooLarge(f"the row would have {size} bytes, and its store takes {largest}")
    return value


def require_unchanged(row: Row, encoded: bytes) -> None:
    """Raise `RowError` for a row that is not any more what it was: indexes would keep what is not there."""
    if encode_row(row) != encoded:
        raise RowError("evolve has changed the row that it was given: it is to return a new one")


def reason_of(error: Exception) -> str:
    """Why a key waits, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:MOST_REASON]


def evolved(projection: Projection, row: Row | None, key: str, parts: Sequence[PublishedEvent]) -> Row | None:
    """A row after one stored event, whose parts are applied together. Raises what the projection raises."""
    for part in parts:
        row = projection.after(row, key, part)
    return row


def touched_by(projection: Projection, events: Sequence[Event]) -> list[Touched]:
    """Which rows each event touches, in their order, and by which of its parts."""
    if not projection.local:
        # The row of its aggregate it touches even where nothing came of it: the row counts the aggregate's sequence.
        return [(event, event.origin.aggregate_id, event.parts) for event in events]
    touched: list[Touched] = []
    for event in events:
        by_key: dict[str, list[PublishedEvent]] = {}
        for part in event.parts:
            for key in projection.keys(part):
                by_key.setdefault(key, []).append(part)
        touched += [(event, key, parts) for key, parts in by_key.items()]
    return touched
