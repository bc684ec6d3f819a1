"""What Cassandra does behind the scenes, and what it keeps: asked in CQL, so it need not be on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from cassandra.cluster import Cluster

from streams.journal.cassandra.address import CassandraAddress

CASSANDRA = "cassandra://127.0.0.1:9042/bench"
LOOK_SECONDS, REST_SECONDS, SETTLE_SECONDS, MOST_SECONDS = 0.2, 1.0, 3.0, 60.0
FLUSH_MS = 1_000


def cassandra_url() -> str:
    """That of JOURNAL_URL, or the one that the project starts."""
    url = os.environ.get("JOURNAL_URL", "")
    return url if url.startswith("cassandra:") else CASSANDRA


class Cassandra:
    """One node, or a cluster's node that answers for itself."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def rests(self, most: float = MOST_SECONDS) -> None:
        """Return when nothing is compacted any more, after a second at least; after `most` seconds in any case."""
        deadline = time.monotonic() + most
        await asyncio.sleep(REST_SECONDS)  # what has just been flushed is looked at for compaction meanwhile
        while await self._rows("SELECT * FROM system_views.sstable_tasks") and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)

    async def bytes_on_disk(self, namespace: str) -> dict[str, int]:
        """Bytes of each table in keyspaces of a namespace, once it is flushed, and compacted as far as it will be.

        Cassandra says them in mebibytes, and rounds up.
        """
        await self._flush(namespace)
        sizes, since = await self._sizes(namespace), time.monotonic()
        deadline = time.monotonic() + MOST_SECONDS
        while time.monotonic() - since < SETTLE_SECONDS and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            if (now := await self._sizes(namespace)) != sizes:
                sizes, since = now, time.monotonic()
        return sizes

    async def _flush(self, namespace: str) -> None:
        """No statement flushes; tables that flush by the clock do."""
        for keyspace, name in await self._rows("SELECT keyspace_name, table_name FROM system_schema.tables"):
            if keyspace.startswith(namespace):
                await self._rows(f'ALTER TABLE "{keyspace}"."{name}" WITH memtable_flush_period_in_ms = {FLUSH_MS}')

    async def _sizes(self, namespace: str) -> dict[str, int]:
        rows = await self._rows("SELECT keyspace_name, table_name, mebibytes FROM system_views.disk_usage")
        return {name: int(size) << 20 for keyspace, name, size in rows if keyspace.startswith(namespace)}

    async def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(lambda: [tuple(row) for row in self._session.execute(statement, timeout=30)])


@contextlib.asynccontextmanager
async def cassandra() -> AsyncIterator[Cassandra]:
    """A connection."""
    address = CassandraAddress.parse(cassandra_url())
    cluster = Cluster(address.hosts, port=address.port)
    try:
        yield Cassandra(await asyncio.to_thread(cluster.connect))
    finally:
        await asyncio.to_thread(cluster.shutdown)
