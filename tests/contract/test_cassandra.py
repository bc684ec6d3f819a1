"""What only Cassandra can do to a journal: answers that get lost, pointers that are missing, servers that refuse."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import ResponseFuture
from cassandra.connection import ConnectionShutdown
from cassandra.query import BoundStatement

from streams.journal.cassandra.journal import CassandraJournal
from streams.journal.port import Commit, Fenced, Journal, JournalMissing, RecordedEvent, Unavailable, log_type
from streams.open_journal import open_journal
from streams.settings import SettingsError
from tests.contract.conftest import CONTEXT, Journals

MOMENT = datetime(2011, 5, 31, tzinfo=UTC)
pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Commit]
EVENT = RecordedEvent("a", 1, "LineAdded", b"data", "command")


class Line:
    """The line to the servers, between the journal and the driver: it may lose the next request, or its answer."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.lose = ""
        self.requests = 0

    def execute_async(self, *arguments: Any, **options: Any) -> Any:
        self.requests += 1
        lose, self.lose = self.lose, ""
        if lose == "request":
            return LostRequest()
        response = self._driver.execute_async(*arguments, **options)
        return LostAnswer(response) if lose == "answer" else response


class LostRequest:
    """The servers never hear of it."""

    def add_callbacks(self, callback: Callable[..., None], errback: Callable[..., None]) -> None:
        errback(OperationTimedOut())


class LostAnswer:
    """The servers have done it, and the connection breaks before they can say so."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def add_callbacks(self, callback: Callable[..., None], errback: Callable[..., None]) -> None:
        self._response.add_callbacks(lambda rows: errback(ConnectionShutdown("lost")), errback)


@pytest.fixture
def line(cassandra_journals: Journals, monkeypatch: pytest.MonkeyPatch) -> Line:
    """The line of the first worker."""
    session = cassandra_journals.one._session  # type: ignore[attr-defined]
    line = Line(session._driver)
    monkeypatch.setattr(session, "_driver", line)
    return line


@pytest.fixture
def journal(cassandra_journals: Journals) -> Journal:
    """The journal whose line may be lossy."""
    return cassandra_journals.one


@pytest.fixture
def other(cassandra_journals: Journals) -> Journal:
    """Another worker's journal, on a sound line."""
    return cassandra_journals.two


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_an_append_without_answer_is_settled_by_repeating_it(
    lost: str, journal: Journal, line: Line, make_commit: Make, log: str
) -> None:
    """Whether the lost append was written or not: it raises `Unavailable`, the repeat succeeds, the log has it once."""
    await journal.append(make_commit(1))
    line.lose = lost
    with pytest.raises(Unavailable, match=r"^Cassandra at .*: (OperationTimedOut|ConnectionShutdown)"):
        await journal.append(make_commit(2, EVENT))
    await journal.append(make_commit(2, EVENT))
    assert await journal.commits(log, 0, 10) == [make_commit(1), make_commit(2, EVENT)]


async def test_a_lost_append_is_fenced_when_another_took_its_place(
    journal: Journal, other: Journal, line: Line, make_commit: Make, log: str
) -> None:
    """The request was lost, a new owner took over: the repeat is refused and the log is the new owner's."""
    line.lose = "request"
    with pytest.raises(Unavailable):
        await journal.append(make_commit(1, EVENT))
    takeover = make_commit(1, epoch=2, owner="b")
    await other.append(takeover)
    with pytest.raises(Fenced, match=r"by b in epoch 2"):
        await journal.append(make_commit(1, EVENT))
    assert await other.commits(log, 0, 10) == [takeover]


async def test_a_new_owner_builds_on_an_append_whose_answer_was_lost(
    journal: Journal, other: Journal, line: Line, make_commit: Make, log: str
) -> None:
    """The commit was written before the takeover: the new owner sees it, and the old one is told that it succeeded."""
    line.lose = "answer"
    with pytest.raises(Unavailable):
        await journal.append(make_commit(1, EVENT))
    assert await other.head(log) == make_commit(1, EVENT)
    await other.append(make_commit(2, epoch=2, owner="b"))
    await journal.append(make_commit(1, EVENT))
    with pytest.raises(Fenced):
        await journal.append(make_commit(2, EVENT))


async def test_losing_the_answer_to_the_repeat_changes_nothing(journal: Journal, line: Line, make_commit: Make) -> None:
    """An owner may be unlucky several times in a row."""
    for lost in ("answer", "request", "answer"):
        line.lose = lost
        with pytest.raises(Unavailable):
            await journal.append(make_commit(1, EVENT))
    await journal.append(make_commit(1, EVENT))


async def test_answers_that_come_too_late_cost_no_commit(
    journal: Journal, make_commit: Make, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a client that waits shorter than servers take, attempts overlap in the servers: the log stays exact."""
    chance = random.Random(3)
    driver = journal._session._driver  # type: ignore[attr-defined]
    commits = [make_commit(nr, EVENT) for nr in range(1, 151)]
    unanswered = 0

    class Impatient:
        def execute_async(self, *arguments: Any) -> Any:
            return driver.execute_async(*arguments, timeout=chance.choice([0.0005, 0.001, 0.002, 5]))

    with monkeypatch.context() as patch:
        patch.setattr(journal._session, "_driver", Impatient())  # type: ignore[attr-defined]
        for commit in commits:
            while True:
                try:
                    await journal.append(commit)
                    break
                except Unavailable:
                    unanswered += 1
    assert unanswered > 0
    assert await journal.commits(log, 0, 1000) == commits


async def test_the_head_is_found_without_its_pointer(
    journal: Journal, other: Journal, make_commit: Make, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table `logs` may be lost, lie behind, or ahead, as when it was restored from a later moment than the commits,
    at any length of the log."""
    monkeypatch.setattr("streams.journal.cassandra.journal.COMMITS_PER_BUCKET", 3)
    for nr in range(1, 51):
        await journal.append(make_commit(nr))
        if nr % 7 == 0 or nr in (2, 3, 5, 6, 8, 9):
            await execute(journal, f"DELETE FROM {keyspace(journal)}.logs WHERE log = '{log}'")
            assert await other.head(log) == make_commit(nr)
            for bucket in (0, 40):
                await execute(journal, f"UPDATE {keyspace(journal)}.logs SET bucket = {bucket} WHERE log = '{log}'")
                assert await other.head(log) == make_commit(nr)
    assert [commit.nr for commit in await other.commits(log, 0, 100)] == list(range(1, 51))


async def test_the_log_is_read_up_to_a_gap(journal: Journal, make_commit: Make, log: str) -> None:
    """A replica that does not have a commit yet makes the reader wait there, never go on behind it."""
    for nr in (1, 2, 4):
        await journal.append(make_commit(nr))
    assert [commit.nr for commit in await journal.commits(log, 0, 10)] == [1, 2]
    await journal.append(make_commit(3))
    assert [commit.nr for commit in await journal.commits(log, 0, 10)] == [1, 2, 3, 4]


async def test_the_journal_explains_itself(journal: Journal, make_commit: Make, log: str) -> None:
    """The schema of a payload stands in the journal, under the fingerprint with which the payload begins."""
    await journal.append(make_commit(1, EVENT))
    query = f"SELECT payload FROM {keyspace(journal)}.commits WHERE log = '{log}' AND bucket = 0"
    [[payload]] = await execute(journal, query)
    assert payload[:2] == b"\xc3\x01"
    assert "RecordedEvent" in (await journal.schemas())[payload[2:10].hex()]


async def test_absent_fields_leave_no_tombstones(journal: Journal, make_commit: Make, log: str) -> None:
    """What an event does not have is not written, instead of written as null."""
    await journal.derive([make_commit(1, RecordedEvent("a", 0, "", b"", "command"))])
    query = f"SELECT JSON event, data, correlation_id, writetime(command_id) FROM {keyspace(journal)}.events"
    [[row]] = await execute(journal, f"{query} WHERE type = '{log_type(log)}' AND id = 'a'")
    assert '"event": null, "data": null, "correlation_id": null' in row


async def test_what_stands_behind_a_snapshot_is_one_read(
    journal: Journal, line: Line, make_commit: Make, log: str
) -> None:
    """A snapshot that remembers a thousand command ids has hundreds of small events behind it, as they weigh less.
    They cost one request, so that an aggregate is loaded by two, however many events it has."""
    events = [RecordedEvent("a", n, "LineAdded", bytes(40), f"c{n}") for n in range(1, 1_001)]
    await journal.derive([make_commit(1, *events)])
    line.requests = 0
    found = await journal.events(log_type(log), "a", 300)
    assert (events[299:], 1) == ([stored.event for stored in found], line.requests)


async def test_workers_may_create_the_same_journal_at_once(cassandra_url: str, namespace: str) -> None:
    """Four that start together all succeed, and the journal can be opened."""
    journals = [open_journal(cassandra_url, namespace, "raced") for _ in range(4)]
    await asyncio.gather(*(journal.create() for journal in journals))
    await journals[0].open()
    await execute(journals[0], f"DROP KEYSPACE {keyspace(journals[0])}")
    with pytest.raises(JournalMissing, match=r"faust -A <app> setup"):
        await journals[0].append(Commit("a@0", 1, 1, "a", "t", {}, 0, MOMENT))
    await journals[0].close()


async def test_a_server_that_does_not_listen_is_unavailable(namespace: str) -> None:
    """One line says where nobody answered."""
    with pytest.raises(Unavailable, match=r"^Cassandra at 127\.0\.0\.1:1: .*refused"):
        await open_journal("cassandra://127.0.0.1:1/test", namespace, CONTEXT).open()


async def test_a_host_without_address_is_unavailable(namespace: str) -> None:
    """A name that does not resolve may do so later."""
    with pytest.raises(Unavailable, match=r"^Cassandra at nowhere\.invalid:9042: "):
        await open_journal("cassandra://nowhere.invalid/test", namespace, CONTEXT).open()


async def test_a_data_center_that_does_not_exist_is_a_wrong_setting(cassandra_url: str, namespace: str) -> None:
    """Its name is in the message; it will not come by waiting."""
    with pytest.raises(SettingsError, match=r"datacenter=atlantis"):
        await open_journal(f"{cassandra_url}?datacenter=atlantis", namespace, CONTEXT).open()


async def test_a_journal_may_live_in_one_data_center(cassandra_url: str, namespace: str, log: str) -> None:
    """Named in the URL, with the number of copies there."""
    journal = open_journal(f"{cassandra_url}?datacenter=datacenter1&replication=1", namespace, "placed")
    await journal.create()
    await journal.open()
    await journal.append(Commit(log, 1, 1, "a", "t", {}, 0, MOMENT))
    query = f"SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace(journal)}'"
    [[replication]] = await execute(journal, query)
    assert replication == {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "datacenter1": "1"}
    await execute(journal, f"DROP KEYSPACE {keyspace(journal)}")
    await journal.close()


async def test_tls_with_a_server_that_has_none_does_not_connect(cassandra_url: str, namespace: str) -> None:
    """It ends in one line, never in plain text over the network."""
    with pytest.raises((Unavailable, SettingsError), match=r"Cassandra at"):
        await open_journal(f"{cassandra_url}?ssl=true", namespace, CONTEXT).open()


async def test_a_journal_that_is_closed_is_unavailable(cassandra_url: str, namespace: str, log: str) -> None:
    """Work that comes after the end is told so, and closing twice is allowed."""
    journal = open_journal(cassandra_url, namespace, CONTEXT)
    await journal.open()
    await journal.close()
    await journal.close()
    with pytest.raises(Unavailable, match=r"not connected"):
        await journal.head(log)


def keyspace(journal: Journal) -> str:
    """The keyspace of a journal."""
    assert isinstance(journal, CassandraJournal)
    return journal._keyspace


async def execute(journal: Journal, cql: str) -> Any:
    """What an operator would type."""
    assert isinstance(journal, CassandraJournal)
    return await journal._session.execute(cql)


async def test_answered_requests_are_gone_at_once(journal: Journal, make_commit: Make, log: str) -> None:
    """The driver's timers hold a request for its whole time-out, and in a circle, so that only the collector frees it:
    at 20,000 commands a second that was 5 s of all rows written, and a fifth of the time."""

    def requests() -> list[Any]:
        return [thing for thing in gc.get_objects() if isinstance(thing, ResponseFuture | BoundStatement)]

    gc.collect()
    gc.disable()
    try:
        before = requests()  # of other sessions of this process, which have the driver's own timers
        for nr in range(1, 4):
            await journal.append(make_commit(nr, EVENT))
            await journal.derive([make_commit(nr, EVENT)])
        left = [thing for thing in requests() if not any(thing is other for other in before)]
    finally:
        gc.enable()
    assert [] == left


async def test_aggregates_share_requests(line: Line, journal: Journal, log: str) -> None:
    """A request by itself costs more than a short aggregate: 64 that are loaded side by side take four for their events
    and four for their snapshots."""
    type, ids = log_type(log), [f"id-{number}" for number in range(64)]
    await asyncio.gather(*(journal.events(type, id) for id in ids))
    assert 4 == line.requests
    await asyncio.gather(*(journal.snapshot(type, id) for id in ids))
    assert 8 == line.requests


async def test_a_shared_read_that_fails(line: Line, journal: Journal, make_commit: Make, log: str) -> None:
    """Everybody who waits for it is told, one that waits no longer changes nothing for the others, and the next read
    asks again."""
    type = log_type(log)
    await journal.derive([make_commit(1, *(RecordedEvent(id, 1, "LineAdded", b"data", "c") for id in "abc"))])
    line.lose = "answer"
    failed = await asyncio.gather(*(journal.events(type, id) for id in "abc"), return_exceptions=True)
    assert [Unavailable] * 3 == [error.__class__ for error in failed]
    reads = [asyncio.create_task(journal.events(type, id)) for id in "abc"]
    await asyncio.sleep(0)
    reads[0].cancel()
    found = await asyncio.gather(*reads, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [1, 1] == [len(rows) for rows in found[1:] if not isinstance(rows, BaseException)]


async def test_reads_of_a_closed_journal(cassandra_url: str, namespace: str) -> None:
    """They are refused like any other request, and nothing is left waiting."""
    journal = open_journal(cassandra_url, namespace, CONTEXT)
    with pytest.raises(Unavailable, match="not connected"):
        await journal.events("order", "a")
    with pytest.raises(Unavailable, match="not connected"):
        await journal.snapshot("order", "a")
