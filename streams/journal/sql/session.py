"""Connections to an SQL database: bounded pools, transactions, and errors in the words of the port.

The addresses, in `sqlite.py` and `postgres.py`, have the differences between SQLite and PostgreSQL.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import BindParameter, Connection, Executable, MetaData, Table, TableValuedAlias, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateColumn

from streams.concurrency.retry import retried
from streams.journal.port import JournalMissing, Unavailable
from streams.settings import SettingsError

T = TypeVar("T")

SETUP_PAUSES = (0.1, 0.2, 0.3, 0.4)
"""Seconds before tables are made again, where that has failed."""


@dataclass(frozen=True)
class Engines:
    """`writes` for transactions, `reads` for single SELECTs, which need none."""

    writes: AsyncEngine
    reads: AsyncEngine

    async def dispose(self) -> None:
        """Close all connections."""
        await self.writes.dispose()
        await self.reads.dispose()


class SqlAddress(Protocol):
    """The place of a journal or a read model, with the peculiarities of its database. Its text shows no password."""

    @property
    def setting(self) -> str:
        """The setting that the URL is from."""

    @property
    def setup_lock(self) -> str:
        """A statement that makes others who create tables wait until the end of the transaction."""

    def engines(self, create: bool) -> Engines:
        """Not connected yet. With `create` the database may be made as well. Raises `SettingsError`."""

    async def prepare(self, connection: AsyncConnection) -> None:
        """Make the schema of the tables."""

    def insert(self, table: Table) -> Any:
        """SQLAlchemy's INSERT with `on_conflict_do_nothing` and `on_conflict_do_update`."""

    def elements(self, array: BindParameter[str]) -> TableValuedAlias:
        """The texts of a JSON array as a table, with the one column `value`."""

    def translated(self, error: Exception) -> Exception:
        """The driver's error as an error of the port, in one line; an error without a counterpart is a bug, and is
        returned as it is."""


class SqlSession:
    """Two pools to one place. A request goes on to its end when whoever waits for it is cancelled: given up in the
    middle, a connection could be left with what it has locked."""

    def __init__(self, address: SqlAddress, tables: MetaData) -> None:
        self.address = address
        self._tables = tables
        self._engines: Engines | None = None
        self._requests: set[asyncio.Task[Any]] = set()

    def connect(self) -> None:
        """Make the pools; the first request connects. Raises `SettingsError`."""
        # What fails is raised here; the pool would add a trace for each connection that broke.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        self._engines = self.address.engines(create=False)

    async def close(self) -> None:
        """Let the requests in work end, which takes no longer than they may, and close the pools."""
        engines, self._engines = self._engines, None
        if self._requests:
            await asyncio.wait(self._requests)
        if engines is not None:
            await engines.dispose()

    async def create_tables(self) -> None:
        """Make the tables where they are missing. Safe to race. Raises `SettingsError` where they cannot be."""

        async def create(connection: AsyncConnection) -> None:
            await connection.exec_driver_sql(self.address.setup_lock)
            await self.address.prepare(connection)
            await connection.run_sync(_make, self._tables)

        engines = self.address.engines(create=True)
        try:
            # SQLite does not wait while another gives the same new file its WAL.
            await retried(lambda: self._request(engines.writes.begin(), create), SETUP_PAUSES, Unavailable)
        except JournalMissing:  # of what was to be made
            reason = f"{self.address.setting}: {self.address} cannot be made: may this user write there?"
            raise SettingsError(reason) from None
        finally:
            await engines.dispose()

    async def rows(self, query: Executable, parameters: Mapping[str, object] | None = None) -> Sequence[Any]:
        """The rows of a SELECT, of all that is committed when it starts."""

        async def read(connection: AsyncConnection) -> Sequence[Any]:
            return (await connection.execute(query, parameters)).all()

        return await self._request(self._open.reads.connect(), read)

    async def transaction(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do the work in a transaction, committed at its end and rolled back after an error."""
        return await self._request(self._open.writes.begin(), work)

    @property
    def _open(self) -> Engines:
        if self._engines is None:
            raise Unavailable(f"{self.address}: not connected")
        return self._engines

    async def _request(
        self, connecting: AbstractAsyncContextManager[AsyncConnection], work: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        async def request() -> T:
            try:
                async with connecting as connection:
                    return await work(connection)
            except (SQLAlchemyError, OSError) as error:
                raise self.address.translated(error) from None

        task = asyncio.create_task(request())
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return await asyncio.shield(task)


def _make(connection: Connection, tables: MetaData) -> None:
    """Make what is missing: tables, and in those of an older version the columns that have a default."""
    tables.create_all(connection)
    schema = connection.get_execution_options().get("schema_translate_map", {}).get(None)
    inspector = inspect(connection)
    for table in tables.sorted_tables:
        present = {column["name"] for column in inspector.get_columns(table.name, schema)}
        for column in table.c:
            if column.server_default is not None and column.name not in present:
                place = f"{schema}.{table.name}" if schema else table.name
                added = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {place} ADD COLUMN {added}")
