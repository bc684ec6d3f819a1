"""Making a keyspace with its tables, however many do it at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streams.cassandra_schema import create_keyspace
from streams.cassandra_session import CassandraAddress, CassandraSession

_ATTEMPTS = 5


async def make_keyspace(address: CassandraAddress, keyspace: str, tables: Sequence[str]) -> None:
    """Make the keyspace, and by these statements its tables, where they are missing. Safe to repeat and to race."""
    session = CassandraSession(address)
    await session.connect()
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await session.define(create_keyspace(keyspace, address.datacenter, address.replication))
                for statement in tables:
                    await session.define(statement)
                return
            except Exception:  # another that makes the same at the same moment may fail either of the two
                if attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(0.2 * attempt)
    finally:
        await session.close()
