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

GONE = "gone"
"""The first key of a row that its projection has removed: only its position is left of it, and no query sees it."""

encode_row = msgspec.json.Encoder(decimal_format="string").encode
decode_row = msgspec.json.Decoder(dict[str, Any]).decode


class Place(msgspec.Struct, frozen=True):
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
    def at(self) -> tuple[int, int]:
        """To compare with an event's commit number and index."""
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
    def at(self) -> tuple[int, int]:
        """The last event that waits, or at which the key was released: commit number and index."""
        return read_position(self.last or self.position)

    def replaces(self, present: Quarantined | None) -> bool:
        """Whether this is newer than what is known of the key, or the same."""
        return present is None or (self.at, not self.events) >= (present.at, not present.events)


@dataclass(frozen=True)
class Changes:
    """What a batch of events has made of one table: rows as they are now, each with its `position`, one that was
    removed as `{"gone": True, "position": ..}`; keys whose quarantine began, grew or ended. `before` has those rows
    that the others replace, if whoever made them has just loaded them."""

    place: Place
    rows: Mapping[str, Row] = field(default_factory=dict)
    quarantined: Mapping[str, Quarantined] = field(default_factory=dict)
    before: Mapping[str, Row] | None = None


class Rows(Protocol):
    """A store of rows. All methods may raise `StoreDown`: then nothing is lost, and the same is asked again."""

    async def places(self, partition: int) -> Mapping[str, Place]:
        """How far each table is that has something in this partition."""

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, Row]:
        """The rows of these keys, those that were removed too; a key that never had one is left out."""

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        """Keep what became of tables. Where the place of a table is, the rows up to it are: most stores write both at
        once, and in the others what was cut off is done when the same events are applied again. What is older changes
        nothing: a row or a place whose position is, a `Quarantined` that does not replace the one that is there. A row
        of the same position takes the other's place."""

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        """The keys of a table whose events wait."""

    async def drop(self, partition: int, table: str) -> None:
        """Remove all of a table in this partition, its place too. Idempotent."""


class StoreDown(Exception):
    """A store cannot be read or written at the moment; the message says which and why."""


def position_of(row: Row) -> tuple[int, int]:
    """Commit number and index of the last event in a row."""
    return read_position(row["position"])


def read_position(position: str) -> tuple[int, int]:
    """Commit number and index in `<stream>:<commit number>:<index>`."""
    _, nr, index = position.rsplit(":", 2)
    return int(nr), int(index)
