"""The rows that a log implies, sorted by aggregate: what the derived rows are held against.

A log is in the order of its commits, what is derived from it in that of the aggregates. To compare the two, the log has
to be sorted; SQLite does it in a temporary file, so that memory stays bounded however long the log is. A row takes
about 100 bytes of disk.
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
    """What the log says of one row of an aggregate: its place, whether it is an event (or 0), a digest of all of it."""

    sequence: int
    nr: int
    index: int
    is_event: int
    digest: bytes
    partition: int


class ExpectedRows:
    """Rows by aggregate. First all are added, then `sort`, then they are read."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a file of its own, which goes with the connection
        self._database.executescript(
            """PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;
            CREATE TABLE implied (id, sequence, nr, idx, is_event, digest, partition)"""
        )

    def close(self) -> None:
        """Delete the file."""
        self._database.close()

    def add(self, partition: int, commit: Commit) -> None:
        """All that the commit implies."""
        self._database.executemany(
            "INSERT INTO implied VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (event.aggregate_id, event.sequence, commit.nr, index, event.is_event, digest, partition)
                for index, event in enumerate(commit.events)
                for digest in (digest_of(StoredEvent(event, commit.nr, index, commit.recorded_at)),)
            ),
        )

    def sort(self) -> int:
        """Make it readable by aggregate; the number of aggregates."""
        self._database.execute("CREATE INDEX by_aggregate ON implied (id, sequence, nr, idx)")
        [[count]] = self._database.execute("SELECT count(DISTINCT id) FROM implied")
        return int(count)

    def ids(self) -> Iterator[str]:
        """The aggregates, each once."""
        query = "SELECT DISTINCT id FROM implied WHERE id > ? ORDER BY id LIMIT ?"
        last = ""
        while page := self._database.execute(query, (last, IDS_AT_ONCE)).fetchall():
            for (last,) in page:
                yield last

    def __contains__(self, aggregate_id: str) -> bool:
        query = "SELECT 1 FROM implied WHERE id = ? LIMIT 1"
        return self._database.execute(query, (aggregate_id,)).fetchone() is not None

    def rows(self, aggregate_id: str) -> list[ExpectedRow]:
        """The rows of an aggregate, in the order of the log."""
        query = "SELECT sequence, nr, idx, is_event, digest, partition FROM implied WHERE id = ? ORDER BY nr, idx"
        return [ExpectedRow(*row) for row in self._database.execute(query, (aggregate_id,))]


def digest_of(row: StoredEvent) -> bytes:
    """8 bytes that stand for all columns of a row."""
    return blake2b(_encode(row), digest_size=8).digest()
