"""URLs of journals and of a schema registry: what they may say, and what is said about those that cannot be used."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from cassandra import AuthenticationFailed
from cassandra.cluster import NoHostAvailable
from cassandra.policies import IdentityTranslator

from servers.secured.certificates import Authority
from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.errors import translated
from streams.journal.cassandra.hosts import Places
from streams.journal.cassandra.tables import create_keyspace, keyspace_name
from streams.journal.sql.postgres import PostgresAddress, schema_name
from streams.journal.sql.sqlite import SqliteAddress
from streams.open_journal import open_journal
from streams.registry.client import RegistryAddress
from streams.runtime.preparation import may_create
from streams.security.store_url import Tls
from streams.settings import Settings, SettingsError


def test_the_shortest_address() -> None:
    """One host, the usual port, one copy."""
    assert CassandraAddress.parse("cassandra://db/shop") == CassandraAddress(
        hosts=("db",), ports=(9042,), keyspace="shop"
    )


def test_the_longest_address() -> None:
    """Several hosts, a login with escaped characters, data center and TLS."""
    url = "cassandra://me:p%40ss@[::1],db2:9142/shop?datacenter=dc1&replication=5&ssl=ca.pem"
    assert CassandraAddress.parse(url) == CassandraAddress(
        hosts=("::1", "db2"),
        ports=(9142, 9142),
        user="me",
        password="p@ss",
        tls=Tls(is_on=True, ca="ca.pem"),
        keyspace="shop",
        datacenter="dc1",
        replication=5,
    )


def test_hosts_as_people_write_them() -> None:
    """With spaces between."""
    assert ("db1", "db2") == CassandraAddress.parse("cassandra://db1, db2:9142/shop").hosts


def test_a_data_center_has_three_copies_unless_told() -> None:
    """Naming a data center means production."""
    assert CassandraAddress.parse("cassandra://db/shop?datacenter=dc1").replication == 3


@pytest.mark.parametrize(
    "url",
    [
        "cassandra://db:9042",
        "cassandra:///shop",
        "cassandra://db:x/shop",
        "cassandra://db:70000/shop",
        "cassandra://db:٣/shop",
        "cassandra://[::1/shop",
        "cassandra://db,/shop",
        "cassandra://db/shop?replication=0",
        "cassandra://db/shop?replication=two",
        "cassandra://db/shop?datacentre=dc1",
        "postgresql://db",
        "postgresql:///shop",
        "postgresql://db:x/shop",
        "postgresql://db:0/shop",
        "postgresql://[::1/shop",
        "postgresql://db,/shop",
        "postgresql://db:5432,db2:x/shop",
        "cassandra://db:9042,db2:9043/shop",
        "cassandra://db/shop?name=db",
        "postgresql://db/shop?name=db&ssl=true",
        "postgresql://db/shop?ssl=false&cert=me.pem",
        "postgresql://db/shop?key=me.key",
        "postgresql://db/shop?ssl=ca.pem&ca=ca.pem",
        "postgresql://db/shop/more",
        "postgresql://db/shop?sslmode=require",
        "sqlite://shop.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///~nobody-of-this-name/shop.db",
        "sqlite:///shop.db?mode=ro",
        "mysql://db/shop",
        "shop",
        "",
    ],
)
def test_an_address_that_cannot_be_used_names_its_setting(url: str) -> None:
    """The message says which setting is wrong."""
    with pytest.raises(SettingsError, match=r"^JOURNAL_URL: "):
        open_journal(url, "", "orders")


def test_an_address_of_postgres() -> None:
    """The shortest and the longest."""
    short = PostgresAddress(hosts=("db",), ports=(5432,), database="shop", schema="shop_orders")
    assert short == PostgresAddress.parse("postgresql://db/shop", "", "orders")
    assert PostgresAddress(
        hosts=("::1",),
        ports=(5433,),
        user="me",
        password="p@ss",
        tls=Tls(is_on=True, ca="ca.pem"),
        database="shop",
        schema="a_shop_users",
    ) == PostgresAddress.parse("postgresql://me:p%40ss@[::1]:5433/shop?ssl=ca.pem", "a_", "users")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///shop.db", "a_shop_orders.db"),
        ("sqlite:///data/my%20shop", "data/a_my shop_orders.db"),
        ("sqlite:////var/lib/shop.sqlite3", "/var/lib/a_shop_orders.sqlite3"),
        ("sqlite:///~/data/shop.db", "/home/me/data/a_shop_orders.db"),
    ],
)
def test_each_context_has_a_file_of_its_own(
    url: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the one that is named, and named after namespace and context."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert tmp_path / expected == SqliteAddress.parse(url, "a_", "orders").file


def test_schemas_are_named_after_namespace_and_context() -> None:
    """In what PostgreSQL allows without quotes; what it would refuse or cut is refused before."""
    assert "test_1_shop_orders" == schema_name("Test-1.", "shop", "orders")
    for namespace in ("n" * 60, "1"):
        with pytest.raises(SettingsError, match=r"has to start with a letter and to have at most 63"):
            schema_name(namespace, "shop", "orders")


@pytest.mark.parametrize(
    "address",
    [
        CassandraAddress.parse("cassandra://me:secret@db/shop"),
        PostgresAddress.parse("postgresql://me:secret@db/shop", "", "orders"),
        RegistryAddress.of(Settings(schema_registry_url="https://me:secret@registry/path")),
    ],
)
def test_a_password_is_not_shown(address: CassandraAddress | PostgresAddress | RegistryAddress) -> None:
    """Neither in the address as text nor in what is said about it."""
    assert "secret" not in f"{address} {address!r}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///shop.db", True),
        ("postgresql://me:secret@127.0.0.1:5433/shop", True),
        ("postgresql://localhost/shop", True),
        ("postgresql://me@db.example:5433/shop", False),
    ],
)
def test_workers_make_the_tables_of_a_journal_on_this_machine(url: str, expected: bool) -> None:
    """A file is one; a server elsewhere is set up by its operator."""
    assert expected is may_create(Settings(journal_url=url))


def test_a_registry_has_an_address_of_its_own() -> None:
    """User and password, with escaped characters, are kept apart from the URL; without a setting there is none."""
    of = RegistryAddress.of
    assert None is of(Settings())
    assert RegistryAddress("http://127.0.0.1:8081") == of(Settings(schema_registry_url="http://127.0.0.1:8081/"))
    assert RegistryAddress("https://[::1]:81/a/b", "me", "p@s/s") == of(
        Settings(schema_registry_url="https://me:p%40s%2Fs@[::1]:81/a/b/")
    )
    assert {} == RegistryAddress("http://h").headers()
    assert {"Authorization": "Basic bWU6cMOkOnNz"} == RegistryAddress("http://h", "me", "pä:ss").headers()


@pytest.mark.parametrize(
    "url",
    [
        "registry:8081",
        "ftp://registry",
        "http://",
        "http://me:pa/ss@registry",
        "http://registry:99999",
        "http://registry?x=secret",
        "http://[::1",
        "http://m%3Ae:secret@registry",
    ],
)
def test_a_registry_that_cannot_be_addressed_is_a_wrong_setting(url: str) -> None:
    """The message names the setting, and repeats nothing that may be secret."""
    with pytest.raises(SettingsError, match=r"SCHEMA_REGISTRY_URL") as caught:
        RegistryAddress.of(Settings(schema_registry_url=url))
    assert not any(secret in str(caught.value) for secret in ("secret", "pa/ss"))


def test_authorities_that_cannot_be_used_are_a_wrong_setting(tmp_path: Path) -> None:
    """A file that is not there, or holds none; or one that plain HTTP would not use."""
    (tmp_path / "empty.pem").touch()
    for url, file in (("https", "none.pem"), ("https", "empty.pem"), ("http", "empty.pem")):
        with pytest.raises(SettingsError, match=r"SCHEMA_REGISTRY_CA_FILE"):
            RegistryAddress.of(Settings(schema_registry_url=f"{url}://r", schema_registry_ca_file=str(tmp_path / file)))


@pytest.mark.parametrize(("setup", "expected"), [("auto", False), ("always", True), ("never", False)])
def test_workers_register_schemas_where_they_may(setup: str, expected: bool) -> None:
    """Likewise: by SETUP, and by itself where the registry is on this machine, wherever the journal is."""
    settings = Settings(setup=setup, journal_url="sqlite:///shop.db")
    assert expected is may_create(settings, "https://me:secret@registry.example/path")
    assert (setup != "never") is may_create(settings, "http://127.0.0.1:8081/path")


def test_files_of_a_url(tmp_path: Path) -> None:
    """One that cannot be used is named in one line, with the setting and the option that it is from."""
    authority = Authority(tmp_path)
    me, you = authority.client("me"), authority.client("you")
    for options, said in [
        ("ca=none.pem", "JOURNAL_URL: ca=none.pem: No such file"),
        (f"cert={me.cert}", "JOURNAL_URL: cert="),
        (f"cert={me.cert}&key={you.key}", "JOURNAL_URL: key="),
    ]:
        for scheme in ("cassandra", "postgresql"):
            with pytest.raises(SettingsError) as caught:
                open_address(f"{scheme}://db/shop?{options}").tls.context()
            assert str(caught.value).startswith(said)
            assert "\n" not in str(caught.value)
    assert open_address(f"cassandra://db/shop?ca={authority.file}&cert={me.both}").tls.context() is not None
    assert open_address("postgresql://db/shop?ssl=false").tls.context() is None


def open_address(url: str) -> CassandraAddress | PostgresAddress:
    """The address of a URL."""
    of_cassandra = url.startswith("cassandra")
    return CassandraAddress.parse(url) if of_cassandra else PostgresAddress.parse(url, "", "orders")


@pytest.mark.parametrize("password", ["se/cret", "se?cret", "se#cret", "s\uff20cret", "[cret"])
def test_a_password_with_special_characters(password: str) -> None:
    """Unescaped, it is refused with what to do, and not repeated."""
    with pytest.raises(SettingsError, match=r"^JOURNAL_URL: ") as caught:
        open_journal(f"cassandra://me:{password}@db/shop", "", "orders")
    assert "cret" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"^SCHEMA_REGISTRY_URL: ") as caught:
        RegistryAddress.of(Settings(schema_registry_url=f"https://me:{password}@registry"))
    assert "cret" not in str(caught.value)


def test_the_names_of_certificates() -> None:
    """A peer of Cassandra's is held to the name that the URL has for it, to its address where it has none, or to the
    one name that all have."""
    row = {"rpc_address": "10.0.0.7", "native_transport_port": 9042}
    assert ("10.0.0.7", None) == told(row, "cassandra://localhost/shop?ssl=true")
    assert ("10.0.0.7", {"server_hostname": "db"}) == told(row, "cassandra://localhost/shop?ssl=true&name=db")
    here = {"rpc_address": "127.0.0.1", "native_transport_port": 9042}
    assert "localhost" in str(told(here, "cassandra://localhost/shop?ssl=true"))


def told(row: dict[str, object], url: str) -> tuple[str, object]:
    """Where a host is that the cluster tells of, and what its certificate is to be for."""
    places = Places(CassandraAddress.parse(url))
    places.configure(SimpleNamespace(address_translator=IdentityTranslator()))
    place = places.create(row)
    return place.address, place.ssl_options


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
    told = translated(error, CassandraAddress.parse("cassandra://db/shop"))
    assert isinstance(told, SettingsError)
    assert str(told) == "JOURNAL_URL: Cassandra at db:9042 refuses this user and password"


def test_journals_in_memory_are_shared_by_name() -> None:
    """A command app and its tailer in one process see the same log, another context another."""
    one, same, other = (open_journal("memory://", "", context) for context in ("orders", "orders", "users"))
    assert one._store is same._store is not other._store  # type: ignore[attr-defined]
