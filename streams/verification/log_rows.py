"""The rows that a log gives, sorted by aggregate.

A log is in the order of its commits, derived rows are in the order of their aggregates. SQLite sorts the log in a
temporary file to compare the two, so memory stays bounded however long the log is. The file is about as large as the
events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

import msgspec

from streams.journal.port import Commit, RecordedEvent, StoredEvent

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredEvent).decode


class LogRows:
    """The rows of logs by aggregate. Use in this order: `add` all commits, `sort`, read."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a file of its own, which goes with the connection
        self._database.executescript(
            """PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;
            CREATE TABLE rows (id, log, nr, idx, row)"""
        )

    def close(self) -> None:
        """Delete the file."""
        self._database.close()

    def add(self, commit: Commit, events: Iterable[tuple[int, RecordedEvent]]) -> None:
        """Add rows of a commit, each with its index."""
        self._database.executemany(
            "INSERT INTO rows VALUES (?, ?, ?, ?, ?)",
            (
                (event.aggregate_id, commit.log, commit.nr, index, _encode(row))
                for index, event in events
                for row in (StoredEvent(event, commit.nr, index, commit.recorded_at),)
            ),
        )

    def sort(self) -> int:
        """Make the rows readable by aggregate; the number of aggregates."""
        self._database.execute("CREATE INDEX by_aggregate ON rows (id, nr, idx)")
        [[count]] = self._database.execute("SELECT count(DISTINCT id) FROM rows")
        return int(count)

    def ids(self) -> Iterator[str]:
        """The aggregates, each once."""
        for (id,) in self._database.execute("SELECT DISTINCT id FROM rows"):
            yield id

    def __contains__(self, aggregate_id: str) -> bool:
        return self._database.execute("SELECT 1 FROM rows WHERE id = ?", (aggregate_id,)).fetchone() is not None

    def of(self, aggregate_id: str) -> list[tuple[str, StoredEvent]]:
        """The rows of an aggregate in the order of the log, each with the log that has it."""
        query = "SELECT log, row FROM rows WHERE id = ? ORDER BY nr, idx"
        return [(log, _decode(row)) for log, row in self._database.execute(query, (aggregate_id,))]
