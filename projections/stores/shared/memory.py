"""Rows in memory: the readable specification of the ports, and the double for tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from projections.projection import Row
from projections.stores.listings import ALL, Cursor, Listings, Page, Span, none_listed, page_of, spots
from projections.stores.rows import (
    LARGEST_ROW,
    Changes,
    Checkpoint,
    Quarantined,
    StoredRow,
    decode_stored,
    head_of,
    shown,
)
from streams.journal.port import JournalMissing

At = tuple[int, str]  # partition and table


@dataclass
class MemoryTables:
    """What the stores that share it have in common: the database, as it were. Rows are in JSON, as they are there."""

    created: bool = False
    places: dict[At, Checkpoint] = field(default_factory=dict)
    rows: dict[At, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    quarantined: dict[At, dict[str, Quarantined]] = field(default_factory=lambda: defaultdict(dict))


class MemoryRows:
    """A `ReadModel` in this process."""

    def __init__(self, tables: MemoryTables | None = None, listings: Listings = none_listed) -> None:
        self._its = tables or MemoryTables()
        self._listings = listings

    async def create(self) -> None:
        self._its.created = True

    async def open(self) -> None:
        if not self._its.created:
            raise JournalMissing("the read model in memory has not been created: run `faust -A <app> setup`")

    async def close(self) -> None:
        pass

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        return {table: place for (of, table), place in self._its.places.items() if of == partition}

    async def largest_row(self) -> int:
        return LARGEST_ROW

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        rows = self._its.rows[partition, table]
        return {key: decode_stored(rows[key]) for key in keys if key in rows}

    async def row(self, partition: int, table: str, key: str) -> Row | None:
        row = (await self.load(partition, table, [key])).get(key)
        return None if row is None or row.row is None else shown(row)

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        for at, change in (((partition, table), change) for table, change in changes.items()):
            rows, quarantined = self._its.rows[at], self._its.quarantined[at]
            for key, row in change.rows.items():
                if key not in rows or row.at >= head_of(rows[key]).at:
                    rows[key] = change.value(key)
            for key, it in change.quarantined.items():
                if it.replaces(quarantined.get(key)):
                    quarantined[key] = it
            if at not in self._its.places or change.place.at >= self._its.places[at].at:
                self._its.places[at] = change.place

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        return {key: it for key, it in self._its.quarantined[partition, table].items() if it.events}

    async def drop(self, partition: int, table: str) -> None:
        self._its.places.pop((partition, table), None)
        self._its.rows.pop((partition, table), None)
        self._its.quarantined.pop((partition, table), None)

    async def listed(
        self, table: str, listing: str, group: str, after: Cursor | None = None, most: int = 100, span: Span = ALL
    ) -> Page:
        kept = [item for (_, name), rows in self._its.rows.items() if name == table for item in rows.items()]
        entries: list[tuple[Cursor, Row]] = []
        for key, row in ((key, decode_stored(value)) for key, value in kept):
            in_group, sort = spots(self._listings(table), row).get(listing, (None, ""))
            if in_group == group and span.first <= sort <= span.last:
                entries.append(((sort, key), shown(row)))
        entries.sort(key=lambda entry: entry[0], reverse=span.descending)
        if after is not None:
            entries = [entry for entry in entries if (entry[0] < after if span.descending else entry[0] > after)]
        return page_of(entries, most)
