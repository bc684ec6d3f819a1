"""Which journal a URL means."""

from __future__ import annotations

from streams.cassandra_schema import keyspace_name
from streams.cassandra_session import CassandraAddress
from streams.journal import Journal
from streams.journal_cassandra import CassandraJournal
from streams.journal_memory import MemoryJournal, MemoryStore
from streams.journal_sql import SqlJournal
from streams.postgres_address import PostgresAddress
from streams.settings import SettingsError
from streams.sqlite_address import SqliteAddress

_stores: dict[tuple[str, str, str], MemoryStore] = {}


def open_journal(url: str, namespace: str, context: str) -> Journal:
    """The journal of a context, not connected yet: `await journal.open()`, after `create()` the first time.

    `memory://` gives every caller in this process with the same URL, namespace and context the same journal.
    Raises `SettingsError`.
    """
    match url.partition(":")[0]:
        case "cassandra":
            address = CassandraAddress.parse(url)
            return CassandraJournal(address, keyspace_name(namespace, address.keyspace, context))
        case "memory":
            return MemoryJournal(_stores.setdefault((url, namespace, context), MemoryStore()))
        case "postgresql":
            return SqlJournal(PostgresAddress.parse(url, namespace, context))
        case "sqlite":
            return SqlJournal(SqliteAddress.parse(url, namespace, context))
        case _:
            raise SettingsError(
                "JOURNAL_URL: use cassandra://host:9042/keyspace, postgresql://host:5432/database, sqlite:///file"
                " or memory://"
            )
