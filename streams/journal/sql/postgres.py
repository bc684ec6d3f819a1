"""PostgreSQL: a schema of its own for each context, and no request that waits for ever."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import asyncpg
from sqlalchemy import JSON, BindParameter, Table, TableValuedAlias, cast, func
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.schema import CreateSchema

from streams.journal.port import JournalIncomplete, JournalMissing, NotPermitted, Unavailable
from streams.journal.sql.postgres_servers import Servers
from streams.journal.sql.session import Engines
from streams.security.handshakes import CUT, alert_behind, refusal
from streams.security.store_url import StoreUrl, database_name, split_store_url
from streams.settings import SettingsError
from streams.text import with_type

REQUEST_TIMEOUT = 2.0
POOL_SECONDS = 5.0
CONNECTIONS = 5

SERVER_SETTINGS = {
    # Each statement sees what is committed when it starts: an append that waited for another must see that one.
    "default_transaction_isolation": "read committed",
    # A commit is on the disk before it is acknowledged, whatever the server's default is.
    "synchronous_commit": "on",
    # Milliseconds. The server gives up before the client does, so that the client hears why. The last one ends the
    # transaction of a worker that was stopped in the middle: the next owner waits for it at most so long.
    "lock_timeout": "1000",
    "statement_timeout": "1500",
    "idle_in_transaction_session_timeout": "2000",
}

_NO_COLUMN = "42703"
_NO_RIGHT = "42501"
_MISSING = ("42P01", "3F000", _NO_COLUMN)  # table, schema, column
_NO_ANSWER = (
    "08",  # connection
    "25",  # among others: read-only after a failover, idle in a transaction for too long
    "40",  # rolled back: deadlock, serialization
    "53",  # disk, memory or connections are used up
    "55",  # locked
    "57",  # cancelled, shutting down, starting up
    "58",  # input and output
)


@dataclass(frozen=True, kw_only=True)
class PostgresAddress(StoreUrl):
    """A database, and the schema of one context in it."""

    database: str
    schema: str

    @classmethod
    def parse(cls, url: str, namespace: str, context: str, setting: str = "JOURNAL_URL") -> PostgresAddress:
        """From `postgresql://[user[:password]@]host[:port][,host[:port]]/database[?ssl=..]`. Raises
        `SettingsError`."""
        server, path, _ = split_store_url(url, setting, 5432)
        database = unquote(path)
        if not all(server["hosts"]) or not all(server["ports"]) or not database or "/" in database:
            raise SettingsError(
                f"{setting}: use postgresql://[user[:password]@]host[:port][,host[:port]]/database[?ssl=true]"
            )
        return cls(**server, database=database, schema=schema_name(namespace, database, context, setting))

    def __str__(self) -> str:
        places = (f"{host}:{port}" for host, port in zip(self.hosts, self.ports, strict=True))
        return f"PostgreSQL at {','.join(places)}"

    @property
    def setup_lock(self) -> str:
        return f"SELECT pg_advisory_xact_lock(hashtext('{self.schema}'))"

    def engines(self, create: bool) -> Engines:
        servers = Servers(
            zip(self.hosts, self.ports, strict=True),
            user=self.user or None,
            password=self.password or None,
            database=self.database,
            timeout=REQUEST_TIMEOUT,
            command_timeout=REQUEST_TIMEOUT,
            server_settings={**SERVER_SETTINGS, "application_name": self.schema},
            ssl=self.tls.context() or False,
        )
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=servers.connect,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=POOL_SECONDS,
            execution_options={"schema_translate_map": {None: self.schema}},
        )
        return Engines(engine, engine.execution_options(isolation_level="AUTOCOMMIT"))

    async def prepare(self, connection: AsyncConnection) -> None:
        encoding = (await connection.exec_driver_sql("SHOW server_encoding")).scalar()
        if encoding != "UTF8":
            raise SettingsError(f"{self.setting}: the database {self.database} is in {encoding}: make one in UTF8")
        await connection.execute(CreateSchema(self.schema, if_not_exists=True))

    def insert(self, table: Table) -> postgresql.Insert:
        return postgresql.insert(table)

    def elements(self, array: BindParameter[str]) -> TableValuedAlias:
        return func.json_array_elements_text(cast(array, JSON)).table_valued("value")

    def translated(self, error: Exception) -> Exception:
        reason: Any = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(reason, "sqlstate", None) or ""
        if state.startswith("28"):
            text = "refuses this user and password" if state == "28P01" else f"refuses: {_text(reason)}"
            return SettingsError(f"{self.setting}: {self} {text}")
        if state == "3D000":
            return SettingsError(f"{self.setting}: {self} has no database {self.database}: make it with `createdb`")
        if isinstance(reason, CUT):
            return Unavailable(f"{self}: {_text(reason)}")
        if (refused := reason if isinstance(reason, ssl.SSLError) else alert_behind(reason)) is not None:
            return SettingsError(f"{self.setting}: no TLS with {self}: {refusal(refused)}")
        if "rejected SSL upgrade" in str(reason):
            return SettingsError(f"{self.setting}: no TLS with {self}: {reason}")
        if state == _NO_RIGHT:
            todo = "an administrator is to run `faust -A <app> setup`, and what `faust -A <app> grants` prints"
            return NotPermitted(f"{self.setting}: {self}: {_text(reason)}: {todo}")
        if state in _MISSING:
            missing = JournalIncomplete if state == _NO_COLUMN else JournalMissing
            return missing(f"{self}: {_text(reason)}: run `faust -A <app> setup`")
        lost = isinstance(reason, (OSError, PoolTimeout)) or _by_the_client(reason)
        if lost or state.startswith(_NO_ANSWER):
            return Unavailable(f"{self}: {_text(reason)}")
        return error


def _by_the_client(reason: object) -> bool:
    """Whether asyncpg itself says that the connection is gone, or still busy with what was given up."""
    cause = getattr(reason, "__cause__", None) or reason
    return isinstance(cause, (asyncpg.InterfaceError, asyncpg.InternalClientError))


def _text(reason: BaseException) -> str:
    return with_type(reason.__cause__ or reason)


def schema_name(namespace: str, database: str, context: str, setting: str = "JOURNAL_URL") -> str:
    """The schema of a context: `<namespace><database>_<context>`. Raises `SettingsError`."""
    return database_name("schema", 63, namespace, database, context, setting)
