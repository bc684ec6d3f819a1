"""Rows of a projection as its store would give them back, in memory."""

from __future__ import annotations

from typing import Any

import msgspec

from projections.applying.fold import require_unchanged
from projections.projection import Projection, PublishedEvent, Row
from projections.stores.rows import decode_row, encode_row


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
    def rows(self) -> dict[str, Any]:
        """The rows by key: dicts, or of the type that the projection declares."""
        return {key: self._typed(row) for key, row in self._rows.items()}

    def _typed(self, row: Row) -> Any:
        # As a view gets it: nobody may change what is kept.
        kept = decode_row(encode_row(row))
        return kept if self.projection.row is None else msgspec.convert(kept, self.projection.row, str_keys=True)
