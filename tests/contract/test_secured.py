"""Cassandra and PostgreSQL as companies run them: TLS, users, certificates; and what is said when one is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from servers.certificates import Authority
from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.session import CassandraSession
from streams.journal.grants import Role, journal_grants, statements
from streams.journal.port import NotPermitted, Unavailable
from streams.open_journal import database_of, open_journal
from streams.settings import SettingsError
from tests.contract.test_names import Names
from tests.secured import Secured, secured

CONTEXT = "orders"
KINDS = ("cassandra", "postgres")
ADMIN = {"cassandra": "cassandra:cassandra", "postgres": "shop:shop"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Both, for the tests of this file."""
    with secured(tmp_path_factory.mktemp("secured"), "postgres", "cassandra") as started:
        yield started


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A resolver that knows a name when told."""
    return Names(monkeypatch)


def url_of(servers: Secured, kind: str, **options: Any) -> str:
    return str(getattr(servers, kind)(**options))


async def administer(servers: Secured, kind: str, *lines: str) -> None:
    """Run statements as the administrator."""
    if kind == "postgres":
        connection = await asyncpg.connect(
            servers.postgres(ca="").replace("?", ""), ssl=_context(servers), database="shop"
        )
        for line in lines:
            await connection.execute(line)
        await connection.close()
        return
    session = CassandraSession(CassandraAddress.parse(servers.cassandra()))
    await session.connect()
    for line in lines:
        await session.define(line.removesuffix(";"))
    await session.close()


def _context(servers: Secured) -> Any:
    import ssl

    return ssl.create_default_context(cafile=servers.authority.file)


async def made(servers: Secured, kind: str, namespace: str) -> None:
    """Make the journal, as `setup` does."""
    journal = open_journal(url_of(servers, kind), namespace, CONTEXT)
    await journal.create()
    await journal.open()
    await journal.close()


async def refused(url: str, kind: type[Exception] = SettingsError) -> str:
    """The one line that says why a journal cannot be opened."""
    journal = open_journal(url, "", CONTEXT)
    with pytest.raises(kind) as caught:
        await journal.open()
    said = str(caught.value)
    assert "\n" not in said
    assert "secret" not in said
    assert said.startswith("JOURNAL_URL: ")
    return said


@pytest.mark.parametrize("kind", KINDS)
async def test_a_journal_over_tls(servers: Secured, kind: str, namespace: str) -> None:
    """With a login, an authority of one's own, and a certificate that is shown."""
    me = servers.authority.client("shop")
    journal = open_journal(url_of(servers, kind, cert=me.cert, key=me.key), namespace, CONTEXT)
    await journal.create()
    await journal.open()
    assert await journal.head("order@0") is None
    await journal.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_refused(servers: Secured, kind: str, tmp_path: Path) -> None:
    """Each in one line, which says which it is, and shows no password."""
    stranger = Authority(tmp_path)
    admin = ADMIN[kind].partition(":")[0]
    assert "refuses this user and password" in await refused(url_of(servers, kind, login=f"{admin}:secret"))
    assert "not trusted" in await refused(url_of(servers, kind, ca=stranger.file))
    assert "not trusted" in await refused(url_of(servers, kind, ca="", ssl="true"))
    assert "another server's" in await refused(url_of(servers, kind, host="127.0.0.2")) if kind == "cassandra" else True
    them = stranger.client(admin)
    assert "cert=FILE" in await refused(url_of(servers, kind, cert=them.cert, key=them.key))


async def test_no_login(servers: Secured) -> None:
    """A URL without a user where one is wanted."""
    assert "wants a user and a password" in await refused(servers.cassandra(login=""))


async def test_plain_text_where_there_is_tls_alone(servers: Secured) -> None:
    """PostgreSQL says it; Cassandra hangs up."""
    assert "no encryption" in await refused(servers.postgres(ca=""))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_is_named(servers: Secured, kind: str, names: Names, namespace: str) -> None:
    """Its certificate is to be for the name by which it is asked, whatever its address is; or, in Cassandra, for the
    one that the URL says."""
    names.address = "127.0.0.1"
    assert "another server's" in await refused(url_of(servers, kind, host="db.example"))
    if kind == "cassandra":
        assert "another server's" in await refused(servers.cassandra(name="db.example"))
        journal = open_journal(servers.cassandra(host="db.example", name="localhost"), namespace, CONTEXT)
        await journal.create()
        await journal.open()
        await journal.close()


async def test_a_user_by_certificate(servers: Secured, namespace: str) -> None:
    """PostgreSQL takes the common name of a certificate for the user, without a password."""
    await administer(servers, "postgres", "CREATE ROLE certain LOGIN", "GRANT certified TO certain")
    await made(servers, "postgres", namespace)
    database = database_of(servers.postgres(), namespace, CONTEXT)
    assert database is not None
    for _, lines in statements(journal_grants(database, Role.OWNER), "certain"):
        await administer(servers, "postgres", *lines)
    me = servers.authority.client("certain")
    journal = open_journal(servers.postgres(login="certain", cert=me.cert, key=me.key), namespace, CONTEXT)
    await journal.open()
    await journal.close()
    assert "certificate" in await refused(servers.postgres(login="certain"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", Role)
async def test_a_right_that_is_missing(servers: Secured, kind: str, role: Role, namespace: str) -> None:
    """With what is granted a journal does its work, and each grant is needed: without it one line says so."""
    name, login = f"{role.value}_{namespace}".lower(), "secret"
    await made(servers, kind, namespace)
    create = f'CREATE ROLE "{name}" WITH {"LOGIN = true AND PASSWORD =" if kind == "cassandra" else "LOGIN PASSWORD"}'
    await administer(servers, kind, f"{create} '{login}'")
    url = url_of(servers, kind, login=f"{name}:{login}")
    database = database_of(url, namespace, CONTEXT)
    assert database is not None
    [(_, lines)] = statements(journal_grants(database, role), name)
    await administer(servers, kind, *lines)
    await works(url, namespace, role)
    for line in lines:
        revoke = re.sub(r"^GRANT (.*) TO ", r"REVOKE \1 FROM ", line)
        await administer(servers, kind, revoke)
        with pytest.raises(NotPermitted, match=r"`faust -A <app> grants` prints") as caught:
            await works(url, namespace, role)
        assert "\n" not in str(caught.value)
        # Behind that of all tables the others are no news to PostgreSQL.
        await administer(servers, kind, *lines)
    await works(url, namespace, role)


async def works(url: str, namespace: str, role: Role) -> None:
    """All that a process of this role does with a journal. Raises `NotPermitted`."""
    from tests.contract.grants_in_use import use

    journal = open_journal(url, namespace, CONTEXT)
    try:
        await journal.open()
        await use(journal, role)
    finally:
        await journal.close()


async def test_a_password_that_is_changed(servers: Secured, namespace: str) -> None:
    """Cassandra's driver would give a host up that refuses a login once: it is tried until it lets us in again."""
    await made(servers, "cassandra", namespace)
    await administer(
        servers, "cassandra", "CREATE ROLE changing WITH LOGIN = true AND PASSWORD = 'before' AND SUPERUSER = true"
    )
    journal = open_journal(servers.cassandra(login="changing:before"), namespace, CONTEXT)
    await journal.open()
    assert isinstance(Unavailable("x"), Exception)
    await journal.close()
