"""Which journal a URL means."""

from __future__ import annotations

from streams.cassandra_schema import keyspace_name
from streams.cassandra_session import CassandraAddress
from streams.journal import Journal
from streams.journal_cassandra import CassandraJournal
from streams.journal_memory import MemoryJournal, MemoryStore
from streams.settings import SettingsError

_stores: dict[tuple[str, str, str], MemoryStore] = {}


def open_journal(url: str, namespace: str, context: str) -> Journal:
    """The journal of a context, not connected yet: `await journal.open()`, after `create()` the first time.

    `memory://` gives every caller in this process with the same URL, namespace and context the same journal.
    Raises `SettingsError`.
    """
    scheme = url.partition(":")[0]
    match scheme:
        case "cassandra":
            address = CassandraAddress.parse(url)
            return CassandraJournal(address, keyspace_name(namespace, address.keyspace, context))
        case "memory":
            return MemoryJournal(_stores.setdefault((url, namespace, context), MemoryStore()))
        case "sqlite" | "postgresql":
            raise SettingsError(f"JOURNAL_URL: {scheme}:// is not supported yet; use cassandra:// or memory://")
        case _:
            raise SettingsError("JOURNAL_URL: use cassandra://host:9042/keyspace or memory://")
