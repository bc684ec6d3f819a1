"""Where the rows of projections are kept: the port that every store implements.

A *table* is one build of a projection, named by its projection, version and generation (`Kept.table`). Tables of one
aggregate type are kept by partition of its events: what a worker writes is of a partition that it has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from projections.projection import Row
from streams.journal.position import Place, parse_place

FORMAT = 2
"""Of what stores keep. What is of another one is not read: tables are built anew."""
LARGEST_ROW = 16 << 20
"""Bytes of an encoded row, where a store has no smaller limit: more of them are a table of their own."""

encode_row = msgspec.json.Encoder().encode
decode_row = msgspec.json.Decoder(dict[str, Any]).decode


class StoredRow(msgspec.Struct, frozen=True):
    """What a store keeps under a key: a row, and the engine's own words apart from it.

    position   of the last event applied to the row
    sequence   that event's number in its aggregate; 0 where the table does not count it
    revision   how often the row was folded anew at this position and came out otherwise
    row        what the projection has returned, in plain JSON values; None when it has removed the row: then only the
               rest is left of it, and no query sees it

    So position and revision together name one content of a row.
    """

    position: str
    sequence: int = 0
    revision: int = 0
    row: Row | None = None

    @property
    def at(self) -> Place:
        """The place of the last event in the row."""
        return parse_place(self.position)


class RowHead(msgspec.Struct, frozen=True, array_like=True):
    """A `StoredRow` without its row."""

    position: str
    sequence: int = 0
    revision: int = 0

    @property
    def at(self) -> Place:
        """The place of the last event in the row."""
        return parse_place(self.position)


_decode_head = msgspec.json.Decoder(RowHead).decode
_END_OF_HEAD = b"\n"
_NO_ROW = b"\nnull"


def encode_stored(stored: StoredRow) -> bytes:
    """Two lines of JSON, so that the engine can read its own without the row, and a query the row as it stands there.

    Raises what cannot be encoded: `UnicodeEncodeError`, `OverflowError`, `RecursionError`.
    """
    head = encode_row((stored.position, stored.sequence, stored.revision))
    return head + _END_OF_HEAD + encode_row(stored.row)


def decode_stored(value: bytes) -> StoredRow:
    """The opposite. Raises `msgspec.DecodeError` for what is none."""
    first_line, row = split(value)
    head = _decode_head(first_line)
    return StoredRow(head.position, head.sequence, head.revision, None if row == b"null" else decode_row(row))


def head_of(value: bytes) -> RowHead:
    """What the engine knows of an encoded row. Raises `msgspec.DecodeError`, `ValueError`."""
    return _decode_head(split(value)[0])


def split(value: bytes) -> tuple[bytes, bytes]:
    """Both lines of an encoded row."""
    head, _, row = value.partition(_END_OF_HEAD)
    return head, row


def is_gone(value: bytes) -> bool:
    """Whether an encoded row is what a removed one has left: no query sees it."""
    return value.endswith(_NO_ROW)


def shown(stored: StoredRow) -> Row:
    """A row as it is shown to others: with `position` and `sequence`, unless it has fields of these names itself."""
    added: Row = {"position": stored.position}
    if stored.sequence:
        added["sequence"] = stored.sequence
    row = stored.row or {}
    return {**row, **{name: value for name, value in added.items() if name not in row}}


def shown_json(value: bytes) -> bytes:
    """Likewise, of an encoded row, as JSON."""
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
    """A key whose events wait: the position of the first, why it could not be applied, how many wait, and the position
    of the last of them, so that one that comes again is not counted again.

    When none waits any more, `events` is 0 and both positions are that at which the key was released.
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
        """Whether this is newer than what is known of the key, or the same."""
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
        """A row as it is kept."""
        return encode_stored(self.rows[key]) if self.encoded is None else self.encoded[key]


class Rows(Protocol):
    """A store of rows. All methods may raise `Unavailable`: then nothing is lost, and the same is asked again."""

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        """How far each table is that has something in this partition."""

    async def largest_row(self) -> int:
        """The bytes of the largest row, encoded and with its key, that this store takes."""

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        """The rows of these keys, those that were removed too; a key that never had one is left out."""

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        """Keep what became of tables. Where the place of a table is, the rows up to it are: most stores write both at
        once, and in the others what was cut off is done when the same events are applied again. What is older changes
        nothing: a row or a place whose position is, a `Quarantined` that does not replace the one that is there. A row
        of the same position and a higher revision takes the other's place."""

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        """The keys of a table whose events wait."""

    async def drop(self, partition: int, table: str) -> None:
        """Remove all of a table in this partition, its place too. Idempotent."""
