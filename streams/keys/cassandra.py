"""The rows of keys in Cassandra, in a keyspace of their own, written by rounds of Paxos alone.

A round whose answer is lost is settled by the next one of the same row: see `streams/journal/cassandra/journal.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping

from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.session import CassandraSession
from streams.journal.cassandra.setup import make_keyspace
from streams.journal.port import JournalMissing
from streams.keys.port import KeyRow

TABLE = """
        CREATE TABLE IF NOT EXISTS {keyspace}.subject_keys (
            id      text PRIMARY KEY,
            version bigint,
            value   blob
        ) WITH comment = 'Wrapped keys of persons. Changed by conditional writes alone; never put a copy of this table
back.'"""
STATEMENTS = {
    "get": "SELECT id, version, value FROM {k}.subject_keys WHERE id = ?",
    "settled": "SELECT id, version, value FROM {k}.subject_keys WHERE id = ?",
    "insert": "INSERT INTO {k}.subject_keys (id, version, value) VALUES (?, 1, ?) IF NOT EXISTS",
    "replace": "UPDATE {k}.subject_keys SET version = ?, value = ? WHERE id = ? IF version = ?",
    "all": "SELECT id, version, value, token(id) FROM {k}.subject_keys WHERE token(id) > ? LIMIT ?",
}
SERIAL = {"settled"}
CONDITIONAL = {"insert", "replace"}
ROWS_AT_ONCE = 1_000
_AT_ONCE = 64
_FIRST_TOKEN = -(2**63)


class CassandraKeyRows:
    """`KeyRows` in one keyspace."""

    def __init__(self, address: CassandraAddress, keyspace: str) -> None:
        self._address = address
        self._keyspace = keyspace
        self._session = CassandraSession(address)
        self._in_flight = asyncio.Semaphore(_AT_ONCE)

    async def create(self) -> None:
        await make_keyspace(self._address, self._keyspace, [TABLE])

    async def open(self) -> None:
        await self._session.connect()
        try:
            await self._session.prepare_all(self._keyspace, STATEMENTS, SERIAL, CONDITIONAL)
        except JournalMissing as error:
            await self.close()
            raise JournalMissing(f"keyspace {self._keyspace} is missing: {error}") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._session.close()

    async def get(self, ids: Collection[str]) -> Mapping[str, KeyRow]:
        found = await asyncio.gather(*(self._one(id) for id in ids))
        return {row.id: row for row in found if row is not None}

    async def _one(self, id: str) -> KeyRow | None:
        async with self._in_flight:
            rows = await self._session.run("get", id)
        return KeyRow(*rows[0]) if rows else None

    async def insert(self, id: str, value: bytes) -> KeyRow:
        [outcome] = await self._session.run("insert", id, value)
        present = KeyRow(id, 1, value) if outcome[0] else await self._settled(id)
        assert present is not None, "rows are never deleted"
        return present

    async def replace(self, id: str, version: int, value: bytes) -> KeyRow | None:
        [outcome] = await self._session.run("replace", version + 1, value, id, version)
        return KeyRow(id, version + 1, value) if outcome[0] else await self._settled(id)

    async def _settled(self, id: str) -> KeyRow | None:
        rows = await self._session.run("settled", id)
        return KeyRow(*rows[0]) if rows else None

    async def all(self) -> AsyncIterator[KeyRow]:
        token = _FIRST_TOKEN
        while rows := await self._session.run("all", token, ROWS_AT_ONCE):
            if len(rows) == ROWS_AT_ONCE:  # a token that two ids share, however unlikely, is not cut in two
                last = rows[-1][3]
                rows = [row for row in rows if row[3] != last] or rows
            for id, version, value, _ in rows:
                yield KeyRow(id, version, value)
            token = rows[-1][3]
