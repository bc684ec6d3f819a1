"""Listings: the orders in which the rows of a table are read, besides one by one by key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from projections.projection import Row
from projections.stores.rows import LARGEST_ROW, Rows, StoredRow, shown

Spot = tuple[str, str]
"""The group that a row is listed in, and by what it is sorted there."""
Cursor = tuple[str, str]
"""A place in a group, between two rows: what the one before it is sorted by, and its key."""


@dataclass(frozen=True)
class SortedIndex:
    """Rows by group, sorted. `of(row)` says where a row is listed, None: nowhere.

    The order is that of the characters' code points: dates, and numbers of one length, come as they should. It is for
    tables whose keys belong to one partition each, as those of aggregates do. A group is read by one request of one
    server, so it should not grow without end: put the year into it, say.

    `lasting`: a row that is once listed stays so, at the same spot, and is never removed. A store that cannot change
    rows and listings in one transaction then needs no second look when it reads a group.
    """

    name: str
    of: Callable[[Row], Spot | None]
    lasting: bool = False


Listings = Callable[[str], Sequence[SortedIndex]]
"""The listings of a table."""


@dataclass(frozen=True)
class Span:
    """Which part of a group, and from which end: what sorts `first` to `last`, both count."""

    first: str = ""
    last: str = "\U0010ffff"  # nothing that means something comes behind it
    descending: bool = False


ALL = Span()


@dataclass(frozen=True)
class Page:
    """Some rows of a group, in order, as they are shown to others; `next` is where more follow, None after the last."""

    rows: Sequence[Row]
    next: Cursor | None = None


class ReadModel(Rows, Protocol):
    """A store of rows outside of the workers, which all of them write to and read from."""

    async def create(self) -> None:
        """Make keyspace, schema or file and tables where they are missing. Safe to repeat and to race."""

    async def open(self) -> None:
        """Connect. Raises `JournalMissing` when `create` has not been called."""

    async def close(self) -> None:
        """Let go of all connections."""

    async def largest_row(self) -> int:
        return LARGEST_ROW

    async def row(self, partition: int, table: str, key: str) -> Row | None:
        """The row of a key as it is shown to others: None also for one that was removed."""
        stored = (await self.load(partition, table, [key])).get(key)
        return None if stored is None or stored.row is None else shown(stored)

    async def listed(
        self, table: str, listing: str, group: str, after: Cursor | None = None, most: int = 100, span: Span = ALL
    ) -> Page:
        """Up to `most` rows of a group, of all partitions, by what they are sorted by and then by key, or the other way
        round; those behind `after` when that is given. What comes and goes between two pages shifts nothing else."""


def none_listed(table: str) -> Sequence[SortedIndex]:
    """The `Listings` of a store that is read by key only."""
    return ()


def spots(listings: Collection[SortedIndex], stored: StoredRow) -> Mapping[str, Spot]:
    """Where a row is listed, by the name of the listing; one that was removed is listed nowhere."""
    if stored.row is None:
        return {}
    row = stored.row
    entries = ((listing.name, listing.of(row)) for listing in listings)
    return {name: spot for name, spot in entries if spot is not None}


def page_of(entries: Sequence[tuple[Cursor, Any]], most: int) -> Page:
    """The first `most` of entries, each with its place, of which one more was asked for."""
    shown = entries[:most]
    return Page([row for _, row in shown], shown[-1][0] if len(entries) > most else None)
