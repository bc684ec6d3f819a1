"""SQLite: a file of its own for each context, durable on commit, shared by the processes of one machine."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, BindParameter, Table, TableValuedAlias, event, func
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from streams.journal.port import JournalIncomplete, JournalMissing, Unavailable
from streams.journal.sql.session import Engines
from streams.settings import SettingsError, split_url
from streams.text import with_type

BUSY_SECONDS = 1.0
"""How long a request waits for another process to release the file."""
POOL_SECONDS = 5.0
"""How long a request waits for the writers of this process before it."""
READERS = 4
READERS_SECONDS = 60.0
"""How long a request waits for the readers of this process before it: they wait for no writer, so that the process has
much else to do, and asking again would take it longer."""


@dataclass(frozen=True)
class SqliteAddress:
    """The file of one context."""

    file: Path
    setting: str = "JOURNAL_URL"
    """Which setting the URL is from: what is said about it names that."""

    setup_lock = "BEGIN IMMEDIATE"

    @classmethod
    def parse(cls, url: str, namespace: str, context: str, setting: str = "JOURNAL_URL") -> SqliteAddress:
        """From `sqlite:///file`, or `sqlite:////file` for an absolute one; beside it stand the files of the contexts,
        `<namespace><name>_<context>.db`. Raises `SettingsError`."""
        parts = split_url(url, setting)
        try:
            path = Path(unquote(parts.path[1:])).expanduser()
        except RuntimeError as error:
            raise SettingsError(f"{setting}: {error}") from None
        if parts.netloc or parts.query or not path.name or path.name == ":memory:":
            raise SettingsError(
                f"{setting}: use sqlite:///file for a file here, sqlite:////folder/file for one elsewhere,"
                " and memory:// for none"
            )
        file = path.with_name(f"{namespace}{path.stem}_{context}{path.suffix or '.db'}")
        return cls(file.absolute(), setting)

    def __str__(self) -> str:
        return f"SQLite at {self.file}"

    def engines(self, create: bool) -> Engines:
        try:
            if create:
                self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{self.setting}: {self.file.parent}: {error.strerror}") from None
        # Not by opening the file: to close it again would let go of the locks that this process has on it.
        for place in (self.file, self.file.parent):
            if place.exists() and not os.access(place, os.W_OK):
                raise SettingsError(f"{self.setting}: {place} cannot be written by this user")
        # One writer at a time is all that SQLite allows: within a process they queue up for the one connection,
        # in order, rather than poll for the file.
        return Engines(self._engine(create, 1, POOL_SECONDS), self._engine(create, READERS, READERS_SECONDS))

    def _engine(self, create: bool, size: int, seconds: float) -> AsyncEngine:
        query = {"mode": "rwc" if create else "rw", "uri": "true"}
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=self.file.as_uri(), query=query),
            # The first INSERT, UPDATE or DELETE begins a transaction that has the right to write from the start: one
            # that asks for it later may be refused without waiting.
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": "IMMEDIATE"},
            pool_size=size,
            max_overflow=0,
            pool_timeout=seconds,
        )
        event.listen(engine.sync_engine, "connect", _configure)
        return engine

    async def prepare(self, connection: AsyncConnection) -> None:
        pass  # the file is there

    def insert(self, table: Table) -> sqlite.Insert:
        return sqlite.insert(table)

    def elements(self, array: BindParameter[str]) -> TableValuedAlias:
        return func.json_each(array).table_valued("value")

    def translated(self, error: Exception) -> Exception:
        if isinstance(error, PoolTimeout):
            return Unavailable(f"{self}: other requests take too long")
        reason = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(reason, (sqlite3.DatabaseError, OSError)):
            return error
        code = getattr(reason, "sqlite_errorcode", None)
        if str(reason).startswith("no such column"):
            return JournalIncomplete(f"{self}: tables lack columns: run `faust -A <app> setup`")
        if str(reason).startswith("no such table") or (code == sqlite3.SQLITE_CANTOPEN and not self.file.exists()):
            return JournalMissing(f"{self}: the tables are missing: run `faust -A <app> setup`")
        if code == sqlite3.SQLITE_NOTADB:
            return SettingsError(f"{self.setting}: {self.file} is not an SQLite database")
        if code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE) or isinstance(reason, sqlite3.IntegrityError):
            return error
        return Unavailable(f"{self}: {with_type(reason)}")


def _configure(connection: Any, record: object) -> None:
    """Of each new connection."""
    cursor = connection.cursor()
    # Readers do not wait for the writer, nor the writer for them. Stays with the file.
    cursor.execute("PRAGMA journal_mode = WAL")
    # A commit is on the disk before it is acknowledged. With NORMAL a power cut would lose the last ones.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()
