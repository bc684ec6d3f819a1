"""Journal URLs: what they may say, and what is said about those that cannot be used."""

from __future__ import annotations

import pytest
from cassandra import AuthenticationFailed
from cassandra.cluster import NoHostAvailable

from streams.cassandra_schema import create_keyspace, keyspace_name
from streams.cassandra_session import CassandraAddress, translated
from streams.journals import open_journal
from streams.settings import SettingsError


def test_the_shortest_address() -> None:
    """One host, the usual port, one copy."""
    assert CassandraAddress.parse("cassandra://db/shop") == CassandraAddress(("db",), 9042, "shop", replication=1)


def test_the_longest_address() -> None:
    """Several hosts, a login with escaped characters, data center and TLS."""
    url = "cassandra://me:p%40ss@[::1],db2:9142/shop?datacenter=dc1&replication=5&ssl=ca.pem"
    assert CassandraAddress.parse(url) == CassandraAddress(
        ("::1", "db2"), 9142, "shop", "me", "p@ss", "dc1", replication=5, ssl="ca.pem"
    )


def test_a_data_center_has_three_copies_unless_told() -> None:
    """Naming a data center means production."""
    assert CassandraAddress.parse("cassandra://db/shop?datacenter=dc1").replication == 3


@pytest.mark.parametrize(
    "url",
    [
        "cassandra://db:9042",
        "cassandra:///shop",
        "cassandra://db:x/shop",
        "cassandra://db/shop?replication=0",
        "cassandra://db/shop?replication=two",
        "cassandra://db/shop?datacentre=dc1",
        "mysql://db/shop",
        "shop",
        "",
    ],
)
def test_an_address_that_cannot_be_used_names_its_setting(url: str) -> None:
    """The message says which setting is wrong."""
    with pytest.raises(SettingsError, match=r"^JOURNAL_URL: "):
        open_journal(url, "", "orders")


def test_a_password_is_not_shown() -> None:
    """Neither in the address as text nor in what is said about it."""
    assert "secret" not in str(CassandraAddress.parse("cassandra://me:secret@db/shop"))
    assert "secret" not in repr(CassandraAddress.parse("cassandra://me:secret@db/shop"))


def test_keyspaces_are_named_after_namespace_and_context() -> None:
    """In what Cassandra allows in a name."""
    assert keyspace_name("", "shop", "orders") == "shop_orders"
    assert keyspace_name("Test-1.", "shop", "orders") == "test_1_shop_orders"


@pytest.mark.parametrize("namespace", ["n" * 40, "1"])
def test_a_keyspace_that_cassandra_would_refuse_is_refused_before(namespace: str) -> None:
    """Too long, or beginning with a digit."""
    with pytest.raises(SettingsError, match=r"has to start with a letter and to have at most 48"):
        keyspace_name(namespace, "shop", "orders")


def test_replicas_are_in_the_data_center_when_there_is_one() -> None:
    """And anywhere when there is none."""
    assert create_keyspace("k", "", 1).endswith("{'class': 'SimpleStrategy', 'replication_factor': 1}")
    assert create_keyspace("k", "dc'1", 3).endswith("{'class': 'NetworkTopologyStrategy', 'dc''1': 3}")


def test_a_refused_login_is_a_wrong_setting() -> None:
    """It is found among the reasons that the driver gives for each host, and told in one line."""
    error = NoHostAvailable("none", {"127.0.0.1:9042": AuthenticationFailed("Bad credentials")})
    told = translated(error, "db:9042")
    assert isinstance(told, SettingsError)
    assert str(told) == "JOURNAL_URL: Cassandra at db:9042 refuses this user and password"


def test_journals_in_memory_are_shared_by_name() -> None:
    """A command app and its tailer in one process see the same log, another context another."""
    one, same, other = (open_journal("memory://", "", context) for context in ("orders", "orders", "users"))
    assert one._store is same._store is not other._store  # type: ignore[attr-defined]
