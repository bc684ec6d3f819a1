"""Cassandra and PostgreSQL as companies run them: TLS, users, certificates; and what is said when one is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers.secured.certificates import Authority
from streams.concurrency.retry import until_it_answers
from streams.journal.grants import Role, journal_grants, statements
from streams.journal.port import NotPermitted, Unavailable
from streams.open_journal import database_of, open_journal
from streams.settings import SettingsError
from tests.contract.grants_in_use import use
from tests.contract.test_names import Door, Names, _fails, answers
from tests.e2e.client import eventually
from tests.e2e.worker import free_port
from tests.secured.stores import Secured, secured
from tests.stores import administered

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
    await administered(url_of(servers, kind), *lines)


async def made(servers: Secured, kind: str, namespace: str) -> None:
    """Make the journal, as `setup` does."""
    journal = open_journal(url_of(servers, kind), namespace, CONTEXT)
    await journal.create()
    await journal.open()
    await journal.close()


async def refused(url: str, kind: type[Exception] = SettingsError) -> str:
    """The one line that says why a journal cannot be opened.

    A server that does not take a certificate may have closed the connection before its reason was read: a worker tries
    again, and so does this.
    """
    journal = open_journal(url, "", CONTEXT)
    with pytest.raises(kind) as caught:
        await until_it_answers(journal.open, "opening a journal", Unavailable, unless=kind)
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
    await made(servers, "postgres", namespace)
    database = database_of(servers.postgres(), namespace, CONTEXT)
    assert database is not None
    for _, lines in statements(journal_grants(database, Role.OWNER), "certified"):
        await administer(servers, "postgres", *lines)
    me = servers.authority.client("certified")
    journal = open_journal(servers.postgres(login="certified", cert=me.cert, key=me.key), namespace, CONTEXT)
    await journal.open()
    await journal.close()
    assert "certificate" in await refused(servers.postgres(login="certified"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", Role)
async def test_a_right_that_is_missing(servers: Secured, kind: str, role: Role, namespace: str) -> None:
    """With what is granted a process does its work, and each grant is needed: without it, one line says so."""
    user, password = f"{role.value}_{namespace}".lower(), "secret"
    await made(servers, kind, namespace)
    login = f"LOGIN = true AND PASSWORD = '{password}'" if kind == "cassandra" else f"LOGIN PASSWORD '{password}'"
    await administer(servers, kind, f'CREATE ROLE "{user}" WITH {login}')
    url = url_of(servers, kind, login=f"{user}:{password}")
    database = database_of(url, namespace, CONTEXT)
    assert database is not None
    [(_, lines)] = statements(journal_grants(database, role), user)
    # The identity is written once. Without the `logs` of Cassandra the newest commit is only found more slowly.
    once = [line for line in lines if ".identity TO" in line]
    needed = [line for line in lines if line not in once and ".logs TO" not in line]
    await administer(servers, kind, *needed)
    if once:
        await lacks(url, namespace, role)
        await administer(servers, kind, *once)
    await works(url, namespace, role)
    for line in needed:
        await administer(servers, kind, line.replace("GRANT", "REVOKE", 1).replace(" TO ", " FROM ", 1))
        await lacks(url, namespace, role)
        await administer(servers, kind, line)
    await works(url, namespace, role)


async def lacks(url: str, namespace: str, role: Role) -> None:
    """A right is missing, and one line says so."""
    with pytest.raises(NotPermitted, match=r"`faust -A <app> grants` prints") as caught:
        await works(url, namespace, role)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


async def works(url: str, namespace: str, role: Role) -> None:
    """All that a process of this role does with a journal. Raises `NotPermitted`."""
    journal = open_journal(url, namespace, CONTEXT)
    try:
        await journal.open()
        await use(journal, role)
    finally:
        await journal.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_worker_makes_nothing(servers: Secured, kind: str, namespace: str) -> None:
    """Where it may not make tables it says so in one line, with what to do."""
    user = f"maker_{namespace}".lower()
    login = "LOGIN = true AND PASSWORD = 'secret'" if kind == "cassandra" else "LOGIN PASSWORD 'secret'"
    await administer(servers, kind, f'CREATE ROLE "{user}" WITH {login}')
    journal = open_journal(url_of(servers, kind, login=f"{user}:secret"), f"{namespace}2", CONTEXT)
    with pytest.raises(NotPermitted, match=r"run `faust -A <app> setup`"):
        await journal.create()


async def test_a_login_that_is_refused_for_a_while(servers: Secured, namespace: str) -> None:
    """Cassandra's driver would never try a host again that refuses a login: here it is tried until it lets us in."""
    await made(servers, "cassandra", namespace)
    create = "CREATE ROLE changing WITH LOGIN = true AND SUPERUSER = true AND PASSWORD = '{}'"
    await administer(servers, "cassandra", create.format("before"))
    door = Door("127.0.0.2", servers.where.cassandra_port)
    await door.open()
    url = servers.cassandra(login="changing:before", host=door.address, name="localhost")
    journal = open_journal(url, namespace, CONTEXT)
    await journal.open()
    await administer(servers, "cassandra", "ALTER ROLE changing WITH PASSWORD = 'after'")
    await door.close()
    await eventually(lambda: _fails(journal), 30, "it answers where nobody is")
    await door.open()
    refused_at = len(door.seen)
    await eventually(lambda: _more(door, refused_at + 3), 30, "it was not tried again")
    assert await _fails(journal)
    await administer(servers, "cassandra", "ALTER ROLE changing WITH PASSWORD = 'before'")
    await eventually(lambda: answers(lambda: journal.head("order@0")), 30, "it is not let in any more")
    await journal.close()
    await door.close()


async def _more(door: Door, count: int) -> bool:
    return len(door.seen) >= count


async def test_all_addresses_are_new(servers: Secured, names: Names, namespace: str) -> None:
    """A name with several addresses leads to others, all at once: they are found by the name."""
    await made(servers, "cassandra", namespace)
    doors = [Door(f"127.0.0.{number}", servers.where.cassandra_port) for number in range(2, 6)]
    for door in doors[:2]:
        await door.open()
    names.addresses = [door.address for door in doors[:2]]
    journal = open_journal(servers.cassandra(host="db.example", name="localhost"), namespace, CONTEXT)
    await journal.open()
    for door in doors[:2]:
        await door.close()
    await eventually(lambda: _fails(journal), 30, "it answers where nobody is")
    for door in doors[2:]:
        await door.open()
    names.addresses = [door.address for door in doors[2:]]
    await eventually(lambda: answers(lambda: journal.head("order@0")), 30, "the new addresses are not found")
    await journal.close()
    for door in doors[2:]:
        await door.close()


async def test_the_next_host(servers: Secured, namespace: str) -> None:
    """Of several hosts of PostgreSQL the one that answers is taken; the others may be silent, or not be there."""
    await made(servers, "postgres", namespace)
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    silence, nobody = silent.sockets[0].getsockname()[1], free_port()
    here = f"127.0.0.1:{servers.where.postgres_port}"
    for hosts in (f"127.0.0.1:{silence},{here}", f"127.0.0.1:{nobody},{here}", f"{here},127.0.0.1:{nobody}"):
        url = servers.postgres().replace(here, hosts)
        journal = open_journal(url, namespace, CONTEXT)
        await journal.open()
        await journal.head("order@0")
        await journal.close()
    silent.close()
