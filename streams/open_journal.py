"""Which journal a URL means, and whose database it is. The drivers of the other databases are not imported: they would
take a fifth of the start of a worker."""

from __future__ import annotations

from streams.extras import needs
from streams.journal.grants import Database
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Journal
from streams.settings import SettingsError

_stores: dict[tuple[str, str, str], MemoryStore] = {}


def open_journal(url: str, namespace: str, context: str) -> Journal:
    """The journal of a context, not connected yet: `await journal.open()`, after `create()` the first time.

    `memory://` gives every caller in this process with the same URL, namespace and context the same journal.
    Raises `SettingsError`.
    """
    match url.partition(":")[0]:
        case "cassandra":
            with needs("cassandra", "JOURNAL_URL=cassandra://.."):
                from streams.journal.cassandra.address import CassandraAddress
                from streams.journal.cassandra.journal import CassandraJournal
                from streams.journal.cassandra.tables import keyspace_name

            address = CassandraAddress.parse(url)
            return CassandraJournal(address, keyspace_name(namespace, address.keyspace, context))
        case "memory":
            return MemoryJournal(_stores.setdefault((url, namespace, context), MemoryStore()))
        case "postgresql":
            with needs("postgres", "JOURNAL_URL=postgresql://.."):
                from streams.journal.sql.journal import SqlJournal
                from streams.journal.sql.postgres import PostgresAddress

            return SqlJournal(PostgresAddress.parse(url, namespace, context))
        case "sqlite":
            from streams.journal.sql.journal import SqlJournal
            from streams.journal.sql.sqlite import SqliteAddress

            return SqlJournal(SqliteAddress.parse(url, namespace, context))
        case _:
            raise SettingsError(
                "JOURNAL_URL: use cassandra://host:9042/keyspace, postgresql://host:5432/database, sqlite:///file"
                " or memory://"
            )


def database_of(url: str, namespace: str, name: str, setting: str = "JOURNAL_URL") -> Database | None:
    """The keyspace or schema of a context, or of a read model; None where the store has no users. Raises
    `SettingsError`."""
    match url.partition(":")[0]:
        case "cassandra":
            with needs("cassandra", f"{setting}=cassandra://.."):
                from streams.journal.cassandra.address import CassandraAddress
                from streams.journal.cassandra.tables import keyspace_name

            cluster = CassandraAddress.parse(url, setting)
            keyspace = keyspace_name(namespace, cluster.keyspace, name, setting)
            return Database("cassandra", setting, f"Cassandra at {cluster}", keyspace)
        case "postgresql":
            with needs("postgres", f"{setting}=postgresql://.."):
                from streams.journal.sql.postgres import PostgresAddress

            address = PostgresAddress.parse(url, namespace, name, setting)
            return Database("postgresql", setting, f"{address}, database {address.database}", address.schema)
        case _:
            return None
