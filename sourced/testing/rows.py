"""Rows of a projection as its store would give them back, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from aggregates import specification
from projections.applying.fold import require_unchanged
from projections.projection import Projection, PublishedEvent, Row
from projections.stores.rows import decode_row, encode_row
from streams.moments import in_utc


def row_after(projection: Projection, row: Row | None, key: str, event: PublishedEvent) -> Row | None:
    """The row after an event, from a copy as a store gives it. Raises `RowError` where the copy is changed."""
    if row is None:
        return projection.after(None, key, event)
    encoded = encode_row(row)
    given = decode_row(encoded)
    row = projection.after(given, key, event)
    require_unchanged(given, encoded)
    return row


class FoldedRows:
    """The rows of a projection, all events being in one partition."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self._rows: dict[str, Row] = {}

    def apply(self, event: PublishedEvent) -> None:
        """An event, which is newer than those before it."""
        for key in self.projection.keys(event):
            row = row_after(self.projection, self._rows.get(key), key, event)
            if row is not None:
                self._rows[key] = row
            else:
                self._rows.pop(key, None)

    @property
    def stored(self) -> dict[str, Row]:
        """The rows by key as a store has them, in plain JSON values."""
        return {key: decode_row(encode_row(row)) for key, row in self._rows.items()}

    @property
    def rows(self) -> dict[str, Any]:
        """The rows by key: dicts, or of the type that the projection declares."""
        return {key: self._typed(row) for key, row in self._rows.items()}

    def _typed(self, row: Row) -> Any:
        # As a view gets it: nobody may change what is kept.
        kept = decode_row(encode_row(row))
        return kept if self.projection.row is None else msgspec.convert(kept, self.projection.row, str_keys=True)


def published(event: Any, id: str = "1", sequence: int = 1) -> PublishedEvent:
    """An event as projections see it. When it was recorded is the same for all: nothing may follow from that."""
    moment = in_utc(specification.NOW)
    return PublishedEvent(event, type(event).__name__, id, sequence, moment, "given-0", sequence, 0)


def in_sequence(events: Iterable[object]) -> Iterable[PublishedEvent]:
    """Events as they are published: those that are not yet get the sequence of their aggregate, and their number."""
    sequences: Counter[str] = Counter()
    for number, event in enumerate(events, 1):
        if isinstance(event, PublishedEvent):
            sequences[event.aggregate_id] = event.sequence
            yield event
            continue
        id, value = event if isinstance(event, tuple) else ("1", event)
        sequences[id] += 1
        one = published(value, id, sequences[id])
        yield msgspec.structs.replace(one, nr=number)
