"""The status of commands that came over HTTP, in an SQLite file: a copy of the last day of some partitions.

One call writes its records and the offsets from which to read on, all or nothing. Records that a machine loses with its
power are read again from the topic, and so are all of them when the file is damaged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from projections.gateway.command_records import (
    KnownCommand,
    LogEntry,
    PendingCommand,
    SentCommand,
    decode_reply,
    decode_sent,
)
from projections.stores.local.sqlite_errors import is_damage
from streams.kafka.topics import DAY

log = logging.getLogger(__name__)

LAYOUT = 2
REMOVED_AT_ONCE = 1_000
"""Rows that are too old go with a write: more of them than it brings, and few enough for the event loop."""

_LAYOUT = (
    # `sent` and `reply` as they stand on the topic; a reply may be read before its command. Whoever uses an id for two
    # commands gets two replies. One of a worker that does not say yet to which command it is has the command ''.
    "CREATE TABLE commands(id TEXT NOT NULL, type TEXT NOT NULL, aggregate TEXT NOT NULL, command TEXT NOT NULL,"
    " at INTEGER NOT NULL, sent BLOB, reply BLOB, PRIMARY KEY (id, type, aggregate, command))",
    "CREATE INDEX by_time ON commands(at)",
    "CREATE INDEX unanswered ON commands(at) WHERE reply IS NULL",
    "CREATE TABLE topic(id TEXT NOT NULL)",
    "CREATE TABLE offsets(partition INTEGER PRIMARY KEY, next INTEGER NOT NULL)",
    f"PRAGMA user_version={LAYOUT}",
)
# The first that was sent with an id stands, since its reply is the first's; of replies the newest, since one that was
# rejected may be decided again. A reply that refuses another command with that id says nothing of the first.
_PUT, _PUT_OTHERS = (
    "INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id, type, aggregate, command) DO UPDATE SET"
    f" at = max(at, excluded.at), sent = coalesce(sent, excluded.sent), reply = coalesce({newest})"
    " RETURNING CASE WHEN typeof(reply) = 'null' THEN sent END"  # SQLite 3.40 takes no NULL for one by IS NULL here
    for newest in ("excluded.reply, reply", "reply, excluded.reply")
)
_WITHOUT_REPLY = "SELECT sent, at FROM commands WHERE reply IS NULL ORDER BY at"
_OF_ANY_COMMAND = "SELECT 1 FROM commands WHERE (id, type, aggregate, command) = (?, ?, ?, '') AND reply IS NOT NULL"
_REMOVE = "DELETE FROM commands WHERE rowid IN (SELECT rowid FROM commands WHERE at < ? ORDER BY at LIMIT ?)"


class CommandLog:
    """The file at `path()`, which is called once, when the file is opened.

    One process opens it, and one thread.
    """

    def __init__(self, path: Callable[[], Path]) -> None:
        self._place = path
        self._path = Path()
        self._db: sqlite3.Connection | None = None

    def open(self, topic_id: str) -> None:
        """Open the file, or make it. Records of another topic of that name are removed."""
        self.close()
        self._path = self._place()
        try:
            self._open(topic_id)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            log.warning("%s: made again from its topic: %s", self._path, error)
            self.remove()
            self._open(topic_id)

    def _open(self, topic_id: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # What people have sent is nobody else's on this machine. SQLite gives its other files the mode of this one.
        with contextlib.suppress(OSError):  # SQLite says what is wrong with it
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._path.chmod(0o600)
        self._db = sqlite3.connect(self._path, isolation_level=None)
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "cell_size_check=ON"):
            self._db.execute(f"PRAGMA {setting}")
        with self._transaction() as db:
            (layout,) = db.execute("PRAGMA user_version").fetchone()
            row = db.execute("SELECT id FROM topic").fetchone() if layout == LAYOUT else None
            if row is None or row[0] != topic_id:
                for table in ("commands", "topic", "offsets"):
                    db.execute(f"DROP TABLE IF EXISTS {table}")
                for statement in _LAYOUT:
                    db.execute(statement)
                db.execute("INSERT INTO topic VALUES (?)", (topic_id,))

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    def remove(self) -> None:
        """Close the file, and remove it."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    # -- reading: all raise `sqlite3.Error` ---------------------------------------------------------------------------

    def find(self, id: str) -> KnownCommand | None:
        """What is known of a command."""
        rows = self._open_file.execute("SELECT sent, reply FROM commands WHERE id = ? ORDER BY rowid", (id,)).fetchall()
        if not rows:
            return None
        first = next((sent for sent, _ in rows if sent), None)
        known = KnownCommand(decode_sent(first) if first else None, None)
        for _, reply in rows:
            known = known.after(decode_reply(reply)) if reply else known
        return known

    def pending(self) -> list[PendingCommand]:
        """The commands without a reply, the oldest first."""
        commands = [PendingCommand(decode_sent(sent), at) for sent, at in self._open_file.execute(_WITHOUT_REPLY)]
        return [each for each in commands if not self._has_reply(_key_of(each.sent))]

    def offsets(self) -> dict[int, int]:
        """By partition the offset of the record to read next."""
        return dict(self._open_file.execute("SELECT partition, next FROM offsets"))

    def _has_reply(self, key: tuple[str, str, str]) -> bool:
        """Whether there is a reply that does not say to which command of an id and aggregate it is."""
        return self._open_file.execute(_OF_ANY_COMMAND, key).fetchone() is not None

    @property
    def _open_file(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.OperationalError("the file is not open")
        return self._db

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, entries: Iterable[LogEntry], offsets: Mapping[int, int], now: int) -> list[PendingCommand]:
        """Write records, and where to read on; remove some of those that are older than a day. Returns the commands
        among them that have no reply. Raises `sqlite3.Error`."""
        pending = []
        with self._transaction() as db:
            for entry in entries:
                [(sent,)] = db.execute(_PUT_OTHERS if entry.is_anothers else _PUT, entry[:7]).fetchall()
                if sent is not None and not self._has_reply(entry[:3]):
                    pending.append(PendingCommand(decode_sent(sent), entry.at))
            db.executemany("INSERT OR REPLACE INTO offsets VALUES (?, ?)", offsets.items())
            db.execute(_REMOVE, (now - DAY, REMOVED_AT_ONCE))
        return pending

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._open_file
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise


def _key_of(sent: SentCommand) -> tuple[str, str, str]:
    return sent.command_id, sent.aggregate.type, sent.aggregate.id
