"""Sorted lists of rows: the port of a read model, and the orders in which its rows are listed beside their keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from projections.projection import Row
from projections.stores.rows import LARGEST_ROW, Rows, StoredRow, shown

Spot = tuple[str, str]
"""The group in which a row is listed, and its sort key there."""
Cursor = tuple[str, str]
"""A place in a group, behind a row: that row's sort key and key."""


@dataclass(frozen=True)
class SortedIndex:
    """Rows by group, sorted. `of(row)` is the spot at which a row is listed, None for a row that is not listed.

    The order is that of code points, which is right for dates and for numbers of one length. Each key of the table
    must belong to one partition, as the keys of aggregates do. A group is read from one server in one request, so it
    should not grow without end: put the year into its name, for example.

    `lasting` promises that a listed row stays at its spot and is never removed. A store that cannot change rows and
    listings in one transaction then needs no second look when it reads a group.
    """

    name: str
    of: Callable[[Row], Spot | None]
    lasting: bool = False


LAST = "\U0010ffff"
"""The last code point: no text that means anything comes behind it."""

Listings = Callable[[str], Sequence[SortedIndex]]
"""The listings of a table."""


@dataclass(frozen=True)
class Span:
    """A part of a group: the sort keys from `first` to `last`, both included, in one direction or the other."""

    first: str = ""
    last: str = LAST
    descending: bool = False

    def begin(self, after: Cursor | None) -> Cursor:
        """The cursor behind which a page begins that comes after another cursor, if there is one."""
        if self.descending:
            return (self.last, LAST) if after is None else min(after, (self.last, LAST))
        return (self.first, "") if after is None else max(after, (self.first, ""))


ALL = Span()


@dataclass(frozen=True)
class Page:
    """Rows of a group in order, as queries see them. `next` is where the next page begins, None after the last row."""

    rows: Sequence[Row]
    next: Cursor | None = None


class SharedRows(Rows, Protocol):
    """A store of rows that all workers share."""

    async def create(self) -> None:
        """Make keyspace, schema or file and tables where they are missing. Safe to repeat and to race."""

    async def open(self) -> None:
        """Connect. Raises `JournalMissing` when `create` has not been called."""

    async def close(self) -> None:
        """Let go of all connections."""

    async def largest_row(self) -> int:
        return LARGEST_ROW

    async def row(self, partition: int, table: str, key: str) -> Row | None:
        """The row of a key as queries see it: None for a row that was removed."""
        stored = (await self.load(partition, table, [key])).get(key)
        return None if stored is None or stored.row is None else shown(stored)

    async def listed(
        self, table: str, listing: str, group: str, after: Cursor | None = None, most: int = 100, span: Span = ALL
    ) -> Page:
        """Up to `most` rows of a group, from all partitions, by sort key and then key, behind `after` if it is given.

        Rows that come and go between two pages do not shift the others.
        """


def none_listed(table: str) -> Sequence[SortedIndex]:
    """The `Listings` of a store that is read by key only."""
    return ()


def spots(listings: Collection[SortedIndex], stored: StoredRow) -> Mapping[str, Spot]:
    """The spots at which a row is listed, by the name of the listing; none for a row that was removed."""
    if stored.row is None:
        return {}
    row = stored.row
    entries = ((listing.name, listing.of(row)) for listing in listings)
    return {name: spot for name, spot in entries if spot is not None}


def page_of(entries: Sequence[tuple[Cursor, Any]], most: int) -> Page:
    """The first `most` of entries, each with its cursor. One entry more than the page holds was asked for."""
    shown = entries[:most]
    return Page([row for _, row in shown], shown[-1][0] if len(entries) > most else None)
