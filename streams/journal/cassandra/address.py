"""A `cassandra://` URL as a value."""

from __future__ import annotations

from dataclasses import dataclass

from streams.security.store_url import StoreUrl, split_store_url
from streams.settings import SettingsError


@dataclass(frozen=True, kw_only=True)
class CassandraAddress(StoreUrl):
    """A cluster, the keyspace that is named after, and how its data are replicated."""

    keyspace: str
    datacenter: str = ""
    replication: int = 1
    name: str = ""
    """What the certificate of every node has as its name; empty: the host by which it is reached."""

    @classmethod
    def parse(cls, url: str, setting: str = "JOURNAL_URL") -> CassandraAddress:
        """From `cassandra://[user:password@]host[,host]:port/keyspace?datacenter=..&replication=..&ssl=..&name=..`.
        Raises `SettingsError`."""
        server, keyspace, options = split_store_url(url, setting, 9042, ("datacenter", "replication", "name"))
        replication = options.get("replication", "3" if "datacenter" in options else "1")
        is_count = replication.isascii() and replication.isdecimal() and 1 <= int(replication) <= 100
        if (
            not all(server["hosts"])
            or not server["ports"][-1]
            or len({*server["ports"]}) > 1
            or not keyspace
            or not is_count
        ):
            raise SettingsError(
                f"{setting}: use cassandra://[user:password@]host[,host]:port/keyspace[?datacenter=NAME&replication=3]"
            )
        name = options.get("name", "")
        if name and not server["tls"].is_on:
            raise SettingsError(
                f"{setting}: name={name} is what certificates are to have, and there is no TLS: ssl=true"
            )
        datacenter = options.get("datacenter", "")
        return cls(**server, keyspace=keyspace, datacenter=datacenter, replication=int(replication), name=name)

    def __str__(self) -> str:
        return f"{','.join(self.hosts)}:{self.port}"
