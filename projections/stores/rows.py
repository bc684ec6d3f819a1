"""The port that every store of rows implements, and the form of a stored row.

A *table* is one build of a projection, named by projection, version and generation. The tables of an aggregate type are
stored by partition of its events: a worker writes only to partitions that it has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from projections.projection import Row
from streams.journal.position import Place, parse_place

FORMAT = 2
"""The version of stored rows. Rows of another version are not read: their tables are built anew."""
LARGEST_ROW = 16 << 20
"""Bytes of an encoded row, where a store has no smaller limit: a larger row should be a table of its own."""

encode_row = msgspec.json.Encoder().encode
decode_row = msgspec.json.Decoder(dict[str, Any]).decode


class RowHead(msgspec.Struct, frozen=True, array_like=True):
    """The engine's part of a stored row.

    position   of the last event applied to the row
    sequence   that event's number in its aggregate; 0 where the table does not count it
    revision   how often the row was folded anew at this position with another result
    """

    position: str
    sequence: int = 0
    revision: int = 0

    @property
    def at(self) -> Place:
        """The place of the last event in the row."""
        return parse_place(self.position)


class StoredRow(RowHead, frozen=True):
    """A row as a store keeps it. Position and revision together name one content of a row.

    row   the row that the projection has returned, in plain JSON values; None when it has removed the row, which no
          query sees then
    """

    row: Row | None = None


_decode_head = msgspec.json.Decoder(RowHead).decode
_END_OF_HEAD = b"\n"
_NO_ROW = b"\nnull"


def encode_stored(stored: StoredRow) -> bytes:
    """Two lines of JSON: the engine reads the first without the second, and a query takes the second as it is.

    Raises `UnicodeEncodeError`, `OverflowError`, `RecursionError` for a row that cannot be encoded.
    """
    head = encode_row((stored.position, stored.sequence, stored.revision))
    return head + _END_OF_HEAD + encode_row(stored.row)


def decode_stored(value: bytes) -> StoredRow:
    """The opposite of `encode_stored`. Raises `msgspec.DecodeError` for bytes that are no stored row."""
    first_line, row = split(value)
    head = _decode_head(first_line)
    return StoredRow(head.position, head.sequence, head.revision, None if row == b"null" else decode_row(row))


def head_of(value: bytes) -> RowHead:
    """The engine's part of an encoded row. Raises `msgspec.DecodeError`, `ValueError`."""
    return _decode_head(split(value)[0])


def split(value: bytes) -> tuple[bytes, bytes]:
    """Both lines of an encoded row."""
    head, _, row = value.partition(_END_OF_HEAD)
    return head, row


def is_gone(value: bytes) -> bool:
    """Whether an encoded row was removed: no query sees it."""
    return value.endswith(_NO_ROW)


def shown(stored: StoredRow) -> Row:
    """A row as queries see it: with `position` and `sequence`, unless it has fields of these names itself."""
    added: Row = {"position": stored.position}
    if stored.sequence:
        added["sequence"] = stored.sequence
    row = stored.row or {}
    return {**row, **{name: value for name, value in added.items() if name not in row}}


def shown_json(value: bytes) -> bytes:
    """An encoded row as queries see it, as JSON."""
    _, row = split(value)
    if b'"position"' in row or b'"sequence"' in row:  # as a name of its own, or somewhere within
        return encode_row(shown(decode_stored(value)))
    head = head_of(value)
    more = b'"position":' + encode_row(head.position)
    if head.sequence:
        more += b',"sequence":%d' % head.sequence
    return b"%s%s%s}" % (row[:-1], b"," if len(row) > 2 else b"", more)


class Checkpoint(msgspec.Struct, frozen=True):
    """How far a table is in one partition.

    nr, index   the last event applied: commit number and index therein; (0, -1) for none
    complete    the newest commit that is applied whole
    offset      of the next record in the partition of the events topic; a hint, the truth is nr and index
    """

    nr: int = 0
    index: int = -1
    complete: int = 0
    offset: int = 0

    @property
    def at(self) -> Place:
        """The place of the last event applied."""
        return self.nr, self.index


class Quarantined(msgspec.Struct, frozen=True):
    """A key whose events wait.

    position   of the first event that waits, or where the key was released
    error      why that event could not be applied
    events     how many events wait; 0 for a key that was released
    last       the position of the last event that waits, so that an event that comes again is not counted again
    """

    position: str
    error: str
    events: int
    last: str = ""

    @property
    def at(self) -> Place:
        """The place of the last event that waits, or at which the key was released."""
        return parse_place(self.last or self.position)

    def replaces(self, present: Quarantined | None) -> bool:
        """Whether this is newer than the present quarantine of the key, or the same."""
        return present is None or (self.at, not self.events) >= (present.at, not present.events)


@dataclass(frozen=True)
class Changes:
    """The result of a batch of events in one table.

    place        how far the table is now
    rows         by key the rows as they are now, removed ones too
    quarantined  by key the quarantines that began, grew or ended
    before       by key the rows that `rows` replaces, as they were just loaded; a key that had none is left out
    encoded      by key the rows as they are stored, if they were encoded already
    """

    place: Checkpoint
    rows: Mapping[str, StoredRow] = field(default_factory=dict)
    quarantined: Mapping[str, Quarantined] = field(default_factory=dict)
    before: Mapping[str, StoredRow] = field(default_factory=dict)
    encoded: Mapping[str, bytes] | None = field(default=None, compare=False)

    def value(self, key: str) -> bytes:
        """A row as it is stored."""
        return encode_stored(self.rows[key]) if self.encoded is None else self.encoded[key]


class Rows(Protocol):
    """A store of rows. All methods may raise `Unavailable`: nothing is lost then, and the same call is repeated."""

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        """The checkpoint of each table that has anything in this partition."""

    async def largest_row(self) -> int:
        """The bytes of the largest row, encoded and with its key, that the store takes."""

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        """The rows of these keys, removed ones too; a key that never had a row is left out."""

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        """Store the changes of tables.

        A checkpoint is stored with the rows up to it, or after them: a save that was cut off is completed when the same
        events are applied again. A row or a checkpoint with an older position than the present one changes nothing, nor
        does a `Quarantined` that does not replace the present one. A row of the same position and a higher revision
        takes the place of the present row.
        """

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        """The keys of a table whose events wait."""

    async def drop(self, partition: int, table: str) -> None:
        """Remove a table from this partition, with its checkpoint. Idempotent."""
