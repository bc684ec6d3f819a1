"""Reads of several aggregates by one request."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra.query import PreparedStatement

from streams.journal.cassandra.shared_reads import SharedReads


async def test_a_read_that_cannot_be_sent() -> None:
    """Whoever waits for it, or for what was to go out with it, hears so: an id that is no text in UTF-8 has no place
    in Cassandra."""
    statement = PreparedStatement([], b"", [0, 1], "", "k", 4, [], b"")
    session: Any = SimpleNamespace(statement=lambda name: statement, replica_finder=lambda: lambda row: None)
    reads = SharedReads(session, "snapshots", alike="snapshot")
    asked = [reads.rows("order", id) for id in ("\udcff", "o1")]
    async with asyncio.timeout(5):
        for future in asked:
            with pytest.raises(UnicodeEncodeError):
                await future
