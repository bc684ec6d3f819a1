"""Rows in SQLite or PostgreSQL: rows, listings and place of a table in one transaction. Tables and statements:
`sql_tables.py`; connections and errors: `streams/journal/sql/session.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.stores.listings import ALL, Cursor, Listings, Page, SharedRows, Span, none_listed, page_of, spots
from projections.stores.rows import Changes, Checkpoint, Quarantined, StoredRow, decode_stored, shown
from projections.stores.shared.sql_tables import (
    LISTINGS,
    NEXT_KEYS,
    PLACES,
    PLACES_OF,
    QUARANTINED,
    QUARANTINED_OF,
    RESTART,
    ROWS,
    TABLES,
    UNLIST,
    of,
    page_query,
    rows_of,
)
from streams.journal.sql.session import SqlAddress, SqlSession
from streams.journal.sql.tables import as_stored, upsert

_AT_ONCE = 500
"""Rows of one statement, few enough that it ends in time."""

_UP, _DOWN = page_query(descending=False), page_query(descending=True)
_REMOVE = {table: delete(table).where(of(table)) for table in TABLES.sorted_tables}
_REMOVE_UP_TO = {table: _REMOVE[table].where(table.c.key <= bindparam("last")) for table in (ROWS, LISTINGS)}

Values = dict[str, Any]

_POSITION = ("nr", "idx", "released")
"""The columns that say which of two rows is newer."""


class SqlRows(SharedRows):
    """A `SharedRows` in one file or schema."""

    def __init__(self, address: SqlAddress, listings: Listings = none_listed) -> None:
        self._session = SqlSession(address, TABLES)
        self._listings = listings
        self._rows_of = rows_of(address)
        self._upserts = {
            table: upsert(address, table, [name for name in _POSITION if name in table.c])
            for table in TABLES.sorted_tables
        }

    async def create(self) -> None:
        await self._session.create_tables()

    async def open(self) -> None:
        self._session.connect()
        try:
            for table in TABLES.sorted_tables:
                await self._session.rows(select(table).limit(0))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._session.close()

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        rows = await self._session.rows(PLACES_OF, {"in": partition})
        return {table: Checkpoint(*place) for table, *place in rows}

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        stored: dict[str, StoredRow] = {}
        for chunk in _chunks(list(keys)):
            array = msgspec.json.encode([as_stored(key) for key in chunk]).decode()
            rows = await self._session.rows(self._rows_of, {"of": table, "in": partition, "keys": array})
            stored |= {key: decode_stored(row.encode()) for key, row in rows if row is not None}
        return stored

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        # All statements are made before the transaction begins, so that its locks are short; they are sorted, so that
        # two transactions that write the same rows lock them in the same order.
        work = [
            statement
            for table, change in sorted(changes.items())
            for statement in self._statements(partition, table, change)
        ]

        async def write(connection: AsyncConnection) -> None:
            for statement, values in work:
                for chunk in _chunks(values):
                    await connection.execute(statement, chunk)

        await self._session.transaction(write)

    def _statements(self, partition: int, table: str, change: Changes) -> Iterator[tuple[Any, Sequence[Values]]]:
        of_table = {"tbl": table, "partition": partition}
        listings = self._listings(table)
        rows: list[Values] = []
        listed: list[Values] = []
        unlisted: list[Values] = []
        for key, row in sorted(change.rows.items()):
            nr, index = row.at
            rows.append({**of_table, "key": key, "nr": nr, "idx": index, "row": change.value(key).decode()})
            at = spots(listings, row)
            for listing in listings:
                if spot := at.get(listing.name):
                    entry = {"listing": listing.name, "grp": spot[0], "sort": spot[1], "nr": nr, "idx": index}
                    listed.append({**of_table, "key": key, **entry})
                else:
                    entry = {"at": key, "from": listing.name, "up_to_nr": nr, "up_to_idx": index}
                    unlisted.append({"of": table, "in": partition, **entry})
        quarantined: list[Values] = []
        for key, waits in sorted(change.quarantined.items()):
            at_last = {"nr": waits.at[0], "idx": waits.at[1], "released": int(not waits.events)}
            quarantined.append({**of_table, "key": key, **at_last, **msgspec.structs.asdict(waits)})
        place = change.place
        at_place = {"nr": place.nr, "idx": place.index, "complete": place.complete, "next_offset": place.offset}
        yield self._upserts[ROWS], rows
        yield self._upserts[LISTINGS], listed
        yield UNLIST, unlisted
        yield self._upserts[QUARANTINED], quarantined
        yield self._upserts[PLACES], [{**of_table, **at_place}]

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        rows = await self._session.rows(QUARANTINED_OF, {"of": table, "in": partition})
        return {key: Quarantined(*values) for key, *values in rows}

    async def drop(self, partition: int, table: str) -> None:
        # In many short transactions. If the drop is cut off, the table still has a checkpoint, so it is dropped again;
        # the checkpoint is at the beginning, so a table that is built on instead comes out right.
        of_table = {"of": table, "in": partition}
        await self._execute([RESTART], of_table)
        while keys := await self._session.rows(NEXT_KEYS, {**of_table, "most": _AT_ONCE}):
            await self._execute([_REMOVE_UP_TO[ROWS], _REMOVE_UP_TO[LISTINGS]], {**of_table, "last": keys[-1][0]})
        await self._execute([_REMOVE[LISTINGS], _REMOVE[QUARANTINED], _REMOVE[PLACES]], of_table)

    async def _execute(self, statements: Sequence[Any], values: Values) -> None:
        """All of them with these values, in one transaction."""

        async def execute(connection: AsyncConnection) -> None:
            for statement in statements:
                await connection.execute(statement, values)

        await self._session.transaction(execute)

    async def listed(
        self, table: str, listing: str, group: str, after: Cursor | None = None, most: int = 100, span: Span = ALL
    ) -> Page:
        sort, key = span.begin(after)
        asked: Values = {"of": table, "listing": listing, "group": group, "sort": sort, "key": key, "most": most + 1}
        asked["end"] = span.first if span.descending else span.last
        rows = await self._session.rows(_DOWN if span.descending else _UP, asked)
        return page_of([((sort, key), shown(decode_stored(row.encode()))) for sort, key, row in rows], most)


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[at : at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE))
