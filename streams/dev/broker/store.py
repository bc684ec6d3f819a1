"""The file of the broker: topics, batches and the offsets of groups, in SQLite. It outlives the end of the process, and
not a power cut: what was written last may be missing then."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from streams.dev.broker.batches import HEAD_BYTES, Batch, of_head

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS topics (id TEXT PRIMARY KEY, name TEXT UNIQUE NOT NULL, settings TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS logs
    (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL, start INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS batches
    (log INTEGER NOT NULL, last INTEGER NOT NULL, newest INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS batches_by_offset ON batches (log, last);
CREATE TABLE IF NOT EXISTS offsets
    (whose TEXT, topic TEXT, partition INTEGER, at INTEGER, note TEXT, PRIMARY KEY (whose, topic, partition))
    WITHOUT ROWID;
"""
_LOOK_BACK = 100
"""Batches by whose heads a partition knows, after a start, which producers have written what."""


class KeptLog(NamedTuple):
    """A partition as it is in the file. `start` is the first offset that there may be, `end` the next one."""

    id: int
    partition: int
    start: int
    end: int


class KeptTopic(NamedTuple):
    id: str
    name: str
    settings: dict[str, str]
    logs: list[KeptLog]


class Store:
    """An open file. Of one thread."""

    def __init__(self, file: Path | str) -> None:
        """Raises `sqlite3.Error`."""
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_TABLES)
        self._db.execute("INSERT OR IGNORE INTO facts VALUES ('cluster', ?), ('producers', 0)", (uuid.uuid4().hex,))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All that is written in the block, or nothing of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @property
    def cluster_id(self) -> str:
        """Stays with the file."""
        return str(self._db.execute("SELECT value FROM facts WHERE name = 'cluster'").fetchone()[0])

    def new_producer(self) -> int:
        """An id that no producer has had."""
        add = "UPDATE facts SET value = value + 1 WHERE name = 'producers' RETURNING value"
        [[number]] = self._db.execute(add).fetchall()
        return int(number)

    def topics(self) -> list[KeptTopic]:
        logs: dict[str, list[KeptLog]] = {}
        ends = "SELECT id, topic, partition, start, (SELECT max(last) FROM batches WHERE log = id) FROM logs ORDER BY 3"
        for id, topic, partition, start, last in self._db.execute(ends):
            end = start if last is None else max(start, last + 1)
            logs.setdefault(topic, []).append(KeptLog(id, partition, start, end))
        rows = self._db.execute("SELECT id, name, settings FROM topics")
        return [KeptTopic(id, name, json.loads(settings), logs.get(id, [])) for id, name, settings in rows]

    def add_topic(self, id: str, name: str, settings: Mapping[str, str]) -> None:
        self._db.execute("INSERT INTO topics VALUES (?, ?, ?)", (id, name, json.dumps(dict(settings))))

    def change_settings(self, id: str, settings: Mapping[str, str]) -> None:
        self._db.execute("UPDATE topics SET settings = ? WHERE id = ?", (json.dumps(dict(settings)), id))

    def add_log(self, topic: str, partition: int) -> KeptLog:
        cursor = self._db.execute("INSERT INTO logs (topic, partition) VALUES (?, ?)", (topic, partition))
        assert cursor.lastrowid is not None
        return KeptLog(cursor.lastrowid, partition, 0, 0)

    def remove_topic(self, id: str, name: str) -> None:
        """With its records, and what groups have committed of it."""
        self._db.execute("DELETE FROM batches WHERE log IN (SELECT id FROM logs WHERE topic = ?)", (id,))
        self._db.execute("DELETE FROM logs WHERE topic = ?", (id,))
        self._db.execute("DELETE FROM topics WHERE id = ?", (id,))
        self._db.execute("DELETE FROM offsets WHERE topic = ?", (name,))

    def append(self, log: int, batch: Batch) -> None:
        self._db.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", (log, batch.last, batch.newest, batch.data))

    def read(self, log: int, start: int, most_bytes: int) -> bytes:
        """The batches from the one with the offset `start` on, at least one if there is any, and as many as there is
        room for."""
        found: list[bytes] = []
        size = 0
        rows = self._db.execute("SELECT data FROM batches WHERE log = ? AND last >= ? ORDER BY last", (log, start))
        with closing(rows):
            for (data,) in rows:
                if found and size + len(data) > most_bytes:
                    break
                found.append(data)
                size += len(data)
                if size >= most_bytes:
                    break
        return b"".join(found)

    def newest_heads(self, log: int) -> list[Batch]:
        """The heads of the last batches, in order."""
        find = "SELECT substr(data, 1, ?) FROM batches WHERE log = ? ORDER BY last DESC LIMIT ?"
        rows = self._db.execute(find, (HEAD_BYTES, log, _LOOK_BACK)).fetchall()
        return [of_head(head) for (head,) in reversed(rows)]

    def since(self, log: int, start: int, time: int) -> Iterator[Batch]:
        """The batches from an offset on that have a record which is not older, in order."""
        find = "SELECT data FROM batches WHERE log = ? AND last >= ? AND newest >= ? ORDER BY last"
        rows = self._db.execute(find, (log, start, time))
        with closing(rows):
            for (data,) in rows:
                yield of_head(data)

    def expired(self, log: int, time: int) -> int | None:
        """The last offset of the last batch at the beginning whose records are all older; None for none."""
        kept = "SELECT min(last) FROM batches WHERE log = ?1 AND newest >= ?2"
        find = f"SELECT max(last) FROM batches WHERE log = ?1 AND last < coalesce(({kept}), last + 1)"
        [[last]] = self._db.execute(find, (log, time)).fetchall()
        return None if last is None else int(last)

    def remove_before(self, log: int, start: int) -> None:
        """Remove the batches all of which is before this offset, at which the log begins from now on."""
        self._db.execute("DELETE FROM batches WHERE log = ? AND last < ?", (log, start))
        self._db.execute("UPDATE logs SET start = ? WHERE id = ?", (start, log))

    def commit(self, group: str, topic: str, partition: int, at: int, note: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?, ?, ?)", (group, topic, partition, at, note))

    def committed(self, group: str) -> dict[tuple[str, int], tuple[int, str]]:
        """By topic and partition offset and note."""
        rows = self._db.execute("SELECT topic, partition, at, note FROM offsets WHERE whose = ?", (group,))
        return {(topic, partition): (at, note) for topic, partition, at, note in rows}

    def groups(self) -> list[str]:
        """Those that have committed something."""
        return [group for (group,) in self._db.execute("SELECT DISTINCT whose FROM offsets ORDER BY 1")]

    def remove_group(self, group: str) -> None:
        self._db.execute("DELETE FROM offsets WHERE whose = ?", (group,))
