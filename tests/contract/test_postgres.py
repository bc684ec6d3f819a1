"""What only a server in the network can do to an SQL journal: answers of COMMIT that get lost, transactions that go on
for a client that is gone, owners that stop in the middle, logins that are refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from streams.concurrency.retry import until_it_answers
from streams.journal.port import Commit, Fenced, Journal, Unavailable, log_type
from streams.journal.sql.postgres import REQUEST_TIMEOUT
from streams.open_journal import open_journal
from streams.settings import SettingsError
from tests.contract.conftest import CONTEXT, Journals, event

pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Commit]
COMMIT = b"COMMIT;\0"


class Line:
    """A line to the server that can be told what to do to the next COMMIT.

    `request` loses it with the connection; `answer` lets it through and loses the answer with the connection; `hold`
    loses the client's connection, and brings the COMMIT to the server when `release` is set; `silence` takes
    everything from then on and brings nothing.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.fault = ""
        self.release = asyncio.Event()
        self._silent = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_connection(*self._target)
        for work in (self._requests(reader, to_server[1], writer), self._answers(to_server[0], writer)):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _requests(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter, answers: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await client.read(1 << 16):
                fault, self.fault = (self.fault, "") if COMMIT in data else ("", self.fault)
                self._silent = self._silent or fault == "silence"
                if self._silent:
                    continue
                if fault:
                    answers.transport.abort()
                if fault == "hold":
                    await self.release.wait()
                if fault != "request":
                    server.write(data)
                    await server.drain()
                if fault:
                    await asyncio.sleep(0.1)  # the server reads what came before it hears that the client is gone
                    break
        server.close()

    async def _answers(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await server.read(1 << 16):
                if not self._silent:
                    client.write(data)
                    await client.drain()
        if not self._silent:
            client.close()


@pytest_asyncio.fixture(loop_scope="session")
async def line(postgres_url: str) -> AsyncIterator[Line]:
    """The line of the first worker."""
    parts = urlsplit(postgres_url)
    async with Line(str(parts.hostname), int(parts.port or 5432)) as line:
        yield line


@pytest_asyncio.fixture(loop_scope="session")
async def journal(postgres_journals: Journals, line: Line, namespace: str) -> AsyncIterator[Journal]:
    """The journal at the end of that line."""
    journal = open_journal(f"postgresql://shop@127.0.0.1:{line.port}/shop", namespace, CONTEXT)
    await journal.open()
    yield journal
    await journal.close()


@pytest.fixture
def other(postgres_journals: Journals) -> Journal:
    """Another worker's journal, on a sound line."""
    return postgres_journals.two


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_commit_without_answer_is_settled_by_repeating_it(
    lost: str, journal: Journal, other: Journal, line: Line, make_commit: Make, log: str
) -> None:
    """Whether the lost COMMIT was done or not: `Unavailable`, then the repeat succeeds and the log has it once."""
    await journal.append(make_commit(1))
    line.fault = lost
    with pytest.raises(Unavailable, match=r"^PostgreSQL at 127\.0\.0\.1:\d+: ConnectionDoesNotExistError"):
        await journal.append(make_commit(2, event("a", 1)))
    await journal.append(make_commit(2, event("a", 1)))
    assert await other.commits(log, 0, 10) == [make_commit(1), make_commit(2, event("a", 1))]
    assert len(await other.events(log_type(log), "a")) == 1


async def test_a_lost_commit_is_fenced_when_another_took_its_place(
    journal: Journal, other: Journal, line: Line, make_commit: Make, log: str
) -> None:
    """The COMMIT never came, a new owner took over: the repeat is refused and the log is the new owner's."""
    line.fault = "request"
    with pytest.raises(Unavailable):
        await journal.append(make_commit(1, event("a", 1)))
    takeover = make_commit(1, epoch=2, owner="b")
    await until_it_answers(lambda: other.append(takeover), "taking over", Unavailable)
    with pytest.raises(Fenced, match=r"by b in epoch 2"):
        await journal.append(make_commit(1, event("a", 1)))
    assert await other.commits(log, 0, 10) == [takeover]
    assert list(await other.events(log_type(log), "a")) == []


async def test_a_new_owner_builds_on_a_commit_whose_answer_was_lost(
    journal: Journal, other: Journal, line: Line, make_commit: Make, log: str
) -> None:
    """The COMMIT was done before the takeover: the new owner sees it, and the old one is told that it succeeded."""
    line.fault = "answer"
    with pytest.raises(Unavailable):
        await journal.append(make_commit(1, event("a", 1)))
    with pytest.raises(Fenced):
        await other.append(make_commit(1, epoch=2, owner="b"))
    assert await other.head(log) == make_commit(1, event("a", 1))
    await other.append(make_commit(2, epoch=2, owner="b"))
    await journal.append(make_commit(1, event("a", 1)))
    with pytest.raises(Fenced):
        await journal.append(make_commit(2, event("a", 2)))


@pytest.mark.parametrize("who", ["the same owner", "a new owner"])
async def test_a_commit_under_way_is_waited_for(
    who: str, journal: Journal, other: Journal, line: Line, make_commit: Make, log: str
) -> None:
    """The first attempt is still open in the server, for a client that is gone, when the repeat or the takeover comes:
    that waits for the outcome, and then either succeeds as the repeat or is fenced."""
    line.fault = "hold"
    with pytest.raises(Unavailable):
        await journal.append(make_commit(1, event("a", 1)))
    asked = make_commit(1, event("a", 1)) if who == "the same owner" else make_commit(1, epoch=2, owner="b")
    asking = asyncio.create_task(other.append(asked))
    done, _ = await asyncio.wait({asking}, timeout=0.3)
    assert not done
    line.release.set()
    if who == "the same owner":
        await asking
    else:
        with pytest.raises(Fenced):
            await asking
    assert await other.commits(log, 0, 10) == [make_commit(1, event("a", 1))]


async def test_a_worker_stopped_in_the_middle_does_not_hold_up_the_next(
    journal: Journal, other: Journal, line: Line, make_commit: Make, log: str
) -> None:
    """A transaction whose COMMIT does not come is ended by the server: until then the new owner's appends are
    unavailable, afterwards one succeeds, and the COMMIT that comes at last does nothing."""
    line.fault = "hold"
    with pytest.raises(Unavailable):
        await journal.append(make_commit(1, event("a", 1)))
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match=r"LockNotAvailableError"):
            await other.append(make_commit(1, epoch=2, owner="b"))
        await until_it_answers(lambda: other.append(make_commit(1, epoch=2, owner="b")), "taking over", Unavailable)
    line.release.set()
    with pytest.raises(Fenced, match=r"by b in epoch 2"):
        await journal.append(make_commit(1, event("a", 1)))
    assert await other.commits(log, 0, 10) == [make_commit(1, epoch=2, owner="b")]


async def test_silence_is_unavailable_in_time(journal: Journal, line: Line, make_commit: Make) -> None:
    """A network that takes everything and brings nothing keeps an append waiting for some seconds, not for ever."""
    line.fault = "silence"
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"^PostgreSQL at .*: TimeoutError"):
        await journal.append(make_commit(1, event("a", 1)))
    assert time.monotonic() - began < 5 * REQUEST_TIMEOUT


async def test_many_repairs_of_the_same_rows_do_not_wait_in_a_circle(
    journal: Journal, other: Journal, make_commit: Make, log: str
) -> None:
    """Two owners that each hold themselves for the next one index the same commits: nobody is turned away."""
    commits = [make_commit(nr, *(event(f"{n}", nr) for n in range(30))) for nr in range(1, 11)]
    await asyncio.gather(*(one.derive(commits[::step]) for one in (journal, other) * 4 for step in (1, -1)))
    assert len(await other.events(log_type(log), "7")) == 10


async def test_commits_are_durable_whatever_the_servers_default(postgres_journals: Journals) -> None:
    """Each session asks for synchronous commits, and for an isolation in which the fence sees what it waited for."""
    engines = postgres_journals.one._session._open  # type: ignore[attr-defined]
    for engine in (engines.writes, engines.reads):
        async with engine.connect() as connection:
            settings = [
                (await connection.exec_driver_sql(f"SHOW {name}")).scalar()
                for name in ("synchronous_commit", "default_transaction_isolation")
            ]
        assert ["on", "read committed"] == settings


@pytest.mark.parametrize(
    ("login", "database", "said"),
    [
        ("shop", "atlantis", r"no pg_hba\.conf entry|has no database atlantis"),
        ("me:secret", "shop", r"refuses"),
    ],
)
async def test_what_the_server_refuses_is_a_wrong_setting(
    login: str, database: str, said: str, postgres_url: str, namespace: str
) -> None:
    """It will not come by waiting; the message says so, without the password."""
    place = urlsplit(postgres_url).netloc.rpartition("@")[2]
    journal = open_journal(f"postgresql://{login}@{place}/{database}", namespace, CONTEXT)
    for attempt in (journal.create, journal.open):
        with pytest.raises(SettingsError, match=rf"^JOURNAL_URL: PostgreSQL at {place} .*({said})") as error:
            await attempt()
        assert "secret" not in str(error.value)


async def test_tls_with_a_server_that_has_none_is_a_wrong_setting(postgres_url: str, namespace: str) -> None:
    """It ends in one line, never in plain text over the network."""
    with pytest.raises(SettingsError, match=r"^JOURNAL_URL: no TLS with PostgreSQL at"):
        await open_journal(f"{postgres_url}?ssl=true", namespace, CONTEXT).open()


async def test_a_server_that_is_not_there_is_unavailable(namespace: str) -> None:
    """It may come by waiting."""
    journal = open_journal("postgresql://shop@127.0.0.1:1/shop", namespace, CONTEXT)
    for attempt in (journal.create, journal.open):
        with pytest.raises(Unavailable, match=r"^PostgreSQL at 127\.0\.0\.1:1: "):
            await attempt()
