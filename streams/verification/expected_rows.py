"""The rows that should be derived from a log, sorted by aggregate.

A log is in the order of its commits, derived rows are in the order of their aggregates. SQLite sorts the log in a
temporary file to compare the two, so memory stays bounded however long the log is. A row takes about 100 bytes of disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from streams.journal.port import Commit, StoredEvent

IDS_AT_ONCE = 500
_encode = msgspec.msgpack.Encoder().encode


class ExpectedRow(msgspec.Struct, frozen=True, gc=False):
    """A row of an aggregate by its log: its place, 1 for an event or else 0, and a digest of its columns."""

    sequence: int
    nr: int
    index: int
    is_event: int
    digest: bytes
    partition: int


class ExpectedRows:
    """Expected rows by aggregate. Use in this order: `add` all commits, `sort`, read."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a file of its own, which goes with the connection
        self._database.executescript(
            """PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;
            CREATE TABLE expected (id, sequence, nr, idx, is_event, digest, partition)"""
        )

    def close(self) -> None:
        """Delete the file."""
        self._database.close()

    def add(self, partition: int, commit: Commit) -> None:
        """Add the rows of a commit."""
        self._database.executemany(
            "INSERT INTO expected VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (event.aggregate_id, event.sequence, commit.nr, index, event.is_event, digest, partition)
                for index, event in enumerate(commit.events)
                for digest in (digest_of(StoredEvent(event, commit.nr, index, commit.recorded_at)),)
            ),
        )

    def sort(self) -> int:
        """Make the rows readable by aggregate; the number of aggregates."""
        self._database.execute("CREATE INDEX by_aggregate ON expected (id, sequence, nr, idx)")
        [[count]] = self._database.execute("SELECT count(DISTINCT id) FROM expected")
        return int(count)

    def ids(self) -> Iterator[str]:
        """The aggregates, each once."""
        query = "SELECT DISTINCT id FROM expected WHERE id > ? ORDER BY id LIMIT ?"
        last = ""
        while page := self._database.execute(query, (last, IDS_AT_ONCE)).fetchall():
            for (last,) in page:
                yield last

    def __contains__(self, aggregate_id: str) -> bool:
        query = "SELECT 1 FROM expected WHERE id = ? LIMIT 1"
        return self._database.execute(query, (aggregate_id,)).fetchone() is not None

    def rows(self, aggregate_id: str) -> list[ExpectedRow]:
        """The rows of an aggregate, in the order of the log."""
        query = "SELECT sequence, nr, idx, is_event, digest, partition FROM expected WHERE id = ? ORDER BY nr, idx"
        return [ExpectedRow(*row) for row in self._database.execute(query, (aggregate_id,))]


def digest_of(row: StoredEvent) -> bytes:
    """A hash of all columns of a row, 8 bytes."""
    return blake2b(_encode(row), digest_size=8).digest()
