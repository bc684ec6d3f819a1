"""Where the hosts of a Cassandra cluster are."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace

import pytest
from cassandra.policies import IdentityTranslator

from streams.journal.cassandra import hosts
from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.hosts import Places


def test_a_host_while_names_are_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same one, when the cluster tells of it again: the driver would let go of it for another."""
    resolved: dict[str, Collection[str]] = {"db": {"10.0.0.1"}}
    monkeypatch.setattr(hosts, "_addresses", lambda host, port: resolved.get(host, set()))
    places, row = (
        Places(CassandraAddress.parse("cassandra://db/shop")),
        {"rpc_address": "10.0.0.1", "native_transport_port": 9042},
    )
    places.configure(SimpleNamespace(address_translator=IdentityTranslator()))
    before = places.create(row)
    resolved.clear()
    assert ("db", "db") == (before.address, places.create(row).address)
