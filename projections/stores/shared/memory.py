"""Rows in memory: the readable specification of the ports, and the double for tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from projections.projection import Row
from projections.stores.listings import ALL, Cursor, Listings, Page, SharedRows, Span, none_listed, page_of, spots
from projections.stores.rows import Changes, Checkpoint, Quarantined, StoredRow, decode_stored, head_of, shown
from streams.journal.port import JournalMissing


@dataclass
class MemoryTable:
    """One table in one partition. Rows are encoded, as in a database."""

    place: Checkpoint | None = None
    rows: dict[str, bytes] = field(default_factory=dict)
    quarantined: dict[str, Quarantined] = field(default_factory=dict)


@dataclass
class MemoryDatabase:
    """The tables that stores share, by partition and name."""

    created: bool = False
    tables: defaultdict[tuple[int, str], MemoryTable] = field(default_factory=lambda: defaultdict(MemoryTable))


class MemoryRows(SharedRows):
    """A `SharedRows` in this process."""

    def __init__(self, database: MemoryDatabase | None = None, listings: Listings = none_listed) -> None:
        self.database = database or MemoryDatabase()
        self._listings = listings

    async def create(self) -> None:
        self.database.created = True

    async def open(self) -> None:
        if not self.database.created:
            raise JournalMissing("the read model in memory has not been created: run `faust -A <app> setup`")

    async def close(self) -> None:
        pass

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        tables = self.database.tables.items()
        return {name: table.place for (of, name), table in tables if of == partition and table.place is not None}

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        rows = self.database.tables[partition, table].rows
        return {key: decode_stored(rows[key]) for key in keys if key in rows}

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        for name, change in changes.items():
            table = self.database.tables[partition, name]
            for key, row in change.rows.items():
                if key not in table.rows or row.at >= head_of(table.rows[key]).at:
                    table.rows[key] = change.value(key)
            for key, quarantined in change.quarantined.items():
                if quarantined.replaces(table.quarantined.get(key)):
                    table.quarantined[key] = quarantined
            if table.place is None or change.place.at >= table.place.at:
                table.place = change.place

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        quarantined = self.database.tables[partition, table].quarantined
        return {key: waits for key, waits in quarantined.items() if waits.events}

    async def drop(self, partition: int, table: str) -> None:
        self.database.tables.pop((partition, table), None)

    async def listed(
        self, table: str, listing: str, group: str, after: Cursor | None = None, most: int = 100, span: Span = ALL
    ) -> Page:
        parts = [part.rows for (_, name), part in self.database.tables.items() if name == table]
        entries: list[tuple[Cursor, Row]] = []
        for key, row in ((key, decode_stored(value)) for rows in parts for key, value in rows.items()):
            in_group, sort = spots(self._listings(table), row).get(listing, (None, ""))
            if in_group == group and span.first <= sort <= span.last:
                entries.append(((sort, key), shown(row)))
        entries.sort(key=lambda entry: entry[0], reverse=span.descending)
        if after is not None:
            entries = [entry for entry in entries if (entry[0] < after if span.descending else entry[0] > after)]
        return page_of(entries, most)
