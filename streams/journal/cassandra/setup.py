"""Making a keyspace with its tables, which several processes may do at the same moment."""

from __future__ import annotations

from collections.abc import Iterable

from streams.concurrency.retry import retried
from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.session import CassandraSession
from streams.journal.cassandra.tables import create_keyspace

SETUP_PAUSES = (0.2, 0.4, 0.6, 0.8)
"""Seconds before another attempt: of two that make the same at the same moment either may fail."""


async def make_keyspace(address: CassandraAddress, keyspace: str, tables: Iterable[str]) -> None:
    """Make the keyspace, and its tables by these statements, in which `{keyspace}` stands for its name. Safe to repeat
    and to race."""
    session = CassandraSession(address)

    async def make() -> None:
        await session.define(create_keyspace(keyspace, address.datacenter, address.replication))
        for statement in tables:
            await session.define(statement.format(keyspace=keyspace))

    await session.connect()
    try:
        await retried(make, SETUP_PAUSES, Exception)
    finally:
        await session.close()
