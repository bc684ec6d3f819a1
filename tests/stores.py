"""What tests do in a store as its administrator: statements, and the removal of what they leave there: keyspaces,
schemas or files whose names begin with a namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.session import CassandraSession
from streams.journal.sql.postgres import PostgresAddress


async def administered(url: str, *statements: str) -> None:
    """Run statements by the login of a URL."""
    if url.startswith("cassandra:"):
        async with _cassandra(url) as session:
            for statement in statements:
                await session.define(statement.removesuffix(";"))
    else:
        async with postgres(url) as connection:
            for statement in statements:
                await connection.execute(statement)


async def drop_journals(url: str, namespace: str, only: str = "") -> None:
    """Remove all journals and read models of a namespace from the store of a URL, or only those that have `only` in
    their names."""

    def is_meant(name: str) -> bool:
        return name.startswith(namespace) and only in name

    match url.partition(":")[0]:
        case "cassandra":
            async with _cassandra(url) as session:
                rows = await session.execute("SELECT keyspace_name FROM system_schema.keyspaces")
                for name in filter(is_meant, [name for (name,) in rows]):
                    await session.define(f"DROP KEYSPACE {name}")
        case "postgresql":
            async with postgres(url) as connection:
                rows = await connection.fetch("SELECT nspname FROM pg_namespace")
                for name in filter(is_meant, [name for (name,) in rows]):
                    await connection.execute(f"DROP SCHEMA {name} CASCADE")
        case "sqlite":
            for file in Path(urlsplit(url).path[1:]).parent.glob(f"{namespace}*"):
                if only in file.name:
                    file.unlink()


@asynccontextmanager
async def _cassandra(url: str) -> AsyncIterator[CassandraSession]:
    session = CassandraSession(CassandraAddress.parse(url))
    await session.connect()
    try:
        yield session
    finally:
        await session.close()


@asynccontextmanager
async def postgres(url: str) -> AsyncIterator[Any]:
    """A connection to the first host of a URL."""
    server = PostgresAddress.parse(url, "", "any")
    connection = await asyncpg.connect(
        host=server.hosts[0],
        port=server.port,
        user=server.user,
        password=server.password or None,
        database=server.database,
        ssl=server.tls.context() or False,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def flush_soon(url: str, namespace: str) -> None:
    """Have Cassandra write the tables of all keyspaces of a namespace to files, from now on each second."""
    async with _cassandra(url) as session:
        for keyspace, table in await session.execute("SELECT keyspace_name, table_name FROM system_schema.tables"):
            if keyspace.startswith(namespace):
                await session.define(f"ALTER TABLE {keyspace}.{table} WITH memtable_flush_period_in_ms = 1000")
