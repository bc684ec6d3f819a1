"""What tests leave in a store, and its removal: keyspaces, schemas or files whose names begin with a namespace."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from cassandra.cluster import Cluster

from streams.journal.cassandra.address import CassandraAddress


async def drop_journals(url: str, namespace: str, only: str = "") -> None:
    """Remove all journals and read models of a namespace from the store of a URL, or only those that have `only` in
    their names."""
    match url.partition(":")[0]:
        case "cassandra":
            await asyncio.to_thread(_drop_keyspaces, url, namespace, only)
        case "postgresql":
            await _drop_schemas(url, namespace, only)
        case "sqlite":
            for file in Path(urlsplit(url).path[1:]).parent.glob(f"{namespace}*"):
                if only in file.name:
                    file.unlink()


def _drop_keyspaces(url: str, namespace: str, only: str) -> None:
    address = CassandraAddress.parse(url)
    with Cluster(address.hosts, port=address.port) as cluster:
        session = cluster.connect()
        rows = list(session.execute("SELECT keyspace_name FROM system_schema.keyspaces"))
        for (name,) in (row for row in rows if row[0].startswith(namespace) and only in row[0]):
            session.execute(f"DROP KEYSPACE {name}", timeout=60)


async def _drop_schemas(url: str, namespace: str, only: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for (name,) in await connection.fetch("SELECT nspname FROM pg_namespace"):
            if name.startswith(namespace) and only in name:
                await connection.execute(f"DROP SCHEMA {name} CASCADE")
    finally:
        await connection.close()
