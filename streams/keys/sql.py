"""The rows of keys in SQLite or PostgreSQL, in a file or schema of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping

import msgspec
from sqlalchemy import BigInteger, LargeBinary, MetaData, Table, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streams.journal.sql.session import SqlAddress, SqlSession
from streams.journal.sql.tables import AnyText, as_stored, key_column, value_column
from streams.keys.port import KeyRow

TABLES = MetaData()
KEYS = Table(
    "subject_keys",
    TABLES,
    key_column("id", AnyText),
    value_column("version", BigInteger),
    value_column("value", LargeBinary),
    comment="Wrapped keys of persons. Changed by conditional writes alone; never put a copy of this table back.",
)
_COLUMNS = (KEYS.c.id, KEYS.c.version, KEYS.c.value)
ROWS_AT_ONCE = 1_000


class SqlKeyRows:
    """`KeyRows` in one file or schema."""

    def __init__(self, address: SqlAddress) -> None:
        self._address = address
        self._session = SqlSession(address, TABLES)

    async def create(self) -> None:
        await self._session.create_tables()

    async def open(self) -> None:
        self._session.connect()
        try:
            await self._session.rows(select(KEYS.c.id).limit(1))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._session.close()

    async def get(self, ids: Collection[str]) -> Mapping[str, KeyRow]:
        # One array, whatever its length: neither database takes any number of parameters.
        wanted = self._address.elements(bindparam("ids"))
        query = select(*_COLUMNS).where(KEYS.c.id.in_(select(wanted.c.value)))
        stored = msgspec.json.encode([self._stored(id) for id in ids]).decode()
        found = [KeyRow(*row) for row in await self._session.rows(query, {"ids": stored})]
        return {row.id: row for row in found}

    async def insert(self, id: str, value: bytes) -> KeyRow:
        async def write(connection: AsyncConnection) -> KeyRow:
            row = {"id": id, "version": 1, "value": value}
            await connection.execute(self._address.insert(KEYS).on_conflict_do_nothing(), row)
            return KeyRow(*(await connection.execute(select(*_COLUMNS).where(KEYS.c.id == id))).one())

        return await self._session.transaction(write)

    async def replace(self, id: str, version: int, value: bytes) -> KeyRow | None:
        async def write(connection: AsyncConnection) -> KeyRow | None:
            statement = update(KEYS).where(KEYS.c.id == id, KEYS.c.version == version)
            await connection.execute(statement.values(version=version + 1, value=value))
            row = (await connection.execute(select(*_COLUMNS).where(KEYS.c.id == id))).one_or_none()
            return None if row is None else KeyRow(*row)

        return await self._session.transaction(write)

    async def all(self) -> AsyncIterator[KeyRow]:
        last: str | None = None
        while True:
            query = select(*_COLUMNS).order_by(KEYS.c.id).limit(ROWS_AT_ONCE)
            rows = await self._session.rows(query if last is None else query.where(KEYS.c.id > last))
            for row in rows:
                yield KeyRow(*row)
            if len(rows) < ROWS_AT_ONCE:
                return
            last = rows[-1][0]

    def _stored(self, id: str) -> str:
        return as_stored(id)
