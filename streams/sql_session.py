"""Connections to an SQL database: bounded pools, transactions, and errors in the words of the port.

What SQLite and PostgreSQL do each in its own way is said by their addresses, in `sqlite_address.py` and
`postgres_address.py`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streams.journal import Unavailable
from streams.sql_tables import TABLES


@dataclass(frozen=True)
class Engines:
    """`writes` for transactions, `reads` for single SELECTs, which need none."""

    writes: AsyncEngine
    reads: AsyncEngine


class SqlAddress(Protocol):
    """One journal's place, and what is particular to its kind of database. Its text shows no password."""

    @property
    def setup_lock(self) -> str:
        """A statement that makes others who create tables wait until the end of the transaction."""

    def engines(self, create: bool) -> Engines:
        """Not connected yet. With `create` the database may be made as well. Raises `SettingsError`."""

    async def prepare(self, connection: AsyncConnection) -> None:
        """Make what the tables stand in."""

    def insert(self, table: Table) -> Any:
        """SQLAlchemy's INSERT with `on_conflict_do_nothing` and `on_conflict_do_update`."""

    def translated(self, error: Exception) -> Exception:
        """The driver's error in the words of the port, in one line; what is none of them is a bug, and stays."""


class SqlSession:
    """Two pools to one journal."""

    def __init__(self, address: SqlAddress) -> None:
        self.address = address
        self._engines: Engines | None = None

    def connect(self) -> None:
        """Make the pools; the first request connects. Raises `SettingsError`."""
        # What fails is raised here; the pool would add a trace for each connection that broke.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        self._engines = self.address.engines(create=False)

    async def close(self) -> None:
        """Close the pools."""
        engines, self._engines = self._engines, None
        if engines is not None:
            await engines.writes.dispose()
            await engines.reads.dispose()

    async def create_tables(self) -> None:
        """Make tables where they are missing. Safe to race."""
        engines = self.address.engines(create=True)
        try:
            async with self._in_our_words(), engines.writes.begin() as connection:
                await connection.exec_driver_sql(self.address.setup_lock)
                await self.address.prepare(connection)
                await connection.run_sync(TABLES.create_all)
        finally:
            await engines.writes.dispose()
            await engines.reads.dispose()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end and rolled back after an error."""
        async with self._in_our_words(), self._open.writes.begin() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each SELECT sees all that is committed when it starts."""
        async with self._in_our_words(), self._open.reads.connect() as connection:
            yield connection

    @property
    def _open(self) -> Engines:
        if self._engines is None:
            raise Unavailable(f"{self.address}: not connected")
        return self._engines

    @asynccontextmanager
    async def _in_our_words(self) -> AsyncIterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            raise self.address.translated(error) from None


def one_line(error: BaseException) -> str:
    """What the driver said, without SQLAlchemy's account of the statement and its parameters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
