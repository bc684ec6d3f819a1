"""The shared read model that a URL means. The drivers of the other databases are not imported."""

from __future__ import annotations

from projections.stores.listings import Listings, SharedRows, none_listed
from projections.stores.shared.memory import MemoryDatabase, MemoryRows
from streams.extras import needs
from streams.settings import SettingsError

READ_MODEL = "read_model_2"
"""With the format of what is kept, so that none of another one is read."""

_in_memory: dict[tuple[str, str, str], MemoryDatabase] = {}


def open_rows(
    url: str,
    namespace: str,
    name: str = READ_MODEL,
    listings: Listings = none_listed,
    setting: str = "READ_MODEL_URL",
) -> SharedRows:
    """The read model of a name, not connected yet: `await model.open()`, after `create()` the first time.

    It has a keyspace, schema or file of its own, `<namespace><keyspace>_<name>`. `listings` gives the listings of a
    table; `setting` is the setting that the URL comes from, for messages. With `memory://` all callers in this process
    that name the same URL, namespace and name have the same rows. Raises `SettingsError`.
    """
    match url.partition(":")[0]:
        case "cassandra":
            with needs("cassandra", f"{setting}=cassandra://.."):
                from projections.stores.shared.cassandra import CassandraRows
                from streams.journal.cassandra.address import CassandraAddress
                from streams.journal.cassandra.tables import keyspace_name

            address = CassandraAddress.parse(url, setting)
            return CassandraRows(address, keyspace_name(namespace, address.keyspace, name, setting), listings)
        case "memory":
            return MemoryRows(_in_memory.setdefault((url, namespace, name), MemoryDatabase()), listings)
        case "postgresql":
            with needs("postgres", f"{setting}=postgresql://.."):
                from projections.stores.shared.sql import SqlRows
                from streams.journal.sql.postgres import PostgresAddress

            return SqlRows(PostgresAddress.parse(url, namespace, name, setting), listings)
        case "sqlite":
            from projections.stores.shared.sql import SqlRows
            from streams.journal.sql.sqlite import SqliteAddress

            return SqlRows(SqliteAddress.parse(url, namespace, name, setting), listings)
        case _:
            raise SettingsError(
                f"{setting}: use cassandra://host:9042/keyspace, postgresql://host:5432/database, sqlite:///file"
                " or memory://"
            )
