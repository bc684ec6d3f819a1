"""What both SQL journals promise beyond the contract: one transaction, no lock left behind, errors in our words."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from streams.journal.port import Commit, Fenced, Journal, JournalMissing, Snapshot, Unavailable, log_type
from streams.journal.sql.journal import SqlJournal
from streams.open_journal import open_journal
from tests.contract.conftest import CONTEXT, Journals, event

pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Commit]


@pytest.fixture(params=["sqlite", "postgres"])
def journals(request: pytest.FixtureRequest) -> Journals:
    """Two workers on one database of each kind."""
    found: Journals = request.getfixturevalue(f"{request.param}_journals")
    return found


async def execute(journal: Journal, statement: str) -> list[tuple[object, ...]]:
    """What an operator would type."""
    assert isinstance(journal, SqlJournal)
    schema = getattr(journal._session.address, "schema", "main")

    async def type_it(connection: AsyncConnection) -> list[tuple[object, ...]]:
        result = await connection.exec_driver_sql(statement.format(schema=schema))
        return [tuple(row) for row in result] if result.returns_rows else []

    return await journal._session.transaction(type_it)


@pytest.mark.parametrize("derived", ["events", "snapshots"])
async def test_an_append_is_atomic(derived: str, journals: Journals, make_commit: Make, log: str) -> None:
    """When a derived row cannot be written there is no commit either, and no other derived row."""
    type, commit = log_type(log), make_commit(1, event("a", 1))
    snapshots = [Snapshot("a", 1, 1, 1, b"state")]
    other = {"events": "snapshots", "snapshots": "events"}[derived]
    await execute(journals.two, f"ALTER TABLE {{schema}}.{derived} RENAME TO gone")
    try:
        with pytest.raises(JournalMissing, match=r"setup"):
            await journals.one.append(commit, snapshots)
        assert await journals.two.head(log) is None
        assert [(0,)] == await execute(journals.two, f"SELECT count(*) FROM {{schema}}.{other} WHERE type = '{type}'")
    finally:
        await execute(journals.two, f"ALTER TABLE {{schema}}.gone RENAME TO {derived}")
    await journals.one.append(commit, snapshots)
    assert len(await journals.two.events(type, "a")) == 1


async def test_a_fenced_append_derives_nothing(journals: Journals, make_commit: Make, log: str) -> None:
    """The rows by aggregate and the snapshot of the one who came too late are not written."""
    type = log_type(log)
    await journals.one.append(make_commit(1, epoch=2, owner="b"))
    with pytest.raises(Fenced):
        await journals.two.append(make_commit(1, event("a", 1)), [Snapshot("a", 1, 1, 1, b"state")])
    assert list(await journals.one.events(type, "a")) == []
    assert await journals.one.snapshot(type, "a") is None


async def test_an_append_goes_over_wrong_derived_rows(journals: Journals, make_commit: Make, log: str) -> None:
    """Rows where none should be do not keep the log from growing: they are replaced by the right ones."""
    await journals.two.derive([make_commit(1, event("a", 1, b"wrong"))])
    await journals.one.append(make_commit(1, event("a", 1, b"right")))
    assert [event("a", 1, b"right")] == [row.event for row in await journals.two.events(log_type(log), "a")]


async def test_cancelled_appends_cost_no_commit(journals: Journals, make_commit: Make, log: str) -> None:
    """An owner that is told to let go in the middle of an append may find it done or not; the repeat settles it, and
    no lock is left behind for the other worker."""
    chance = random.Random(5)
    commits = [make_commit(nr, *(event("a", 20 * nr + n) for n in range(20))) for nr in range(1, 101)]
    cancelled = 0
    for commit in commits:
        attempt = asyncio.create_task(journals.one.append(commit))
        await asyncio.sleep(chance.random() * 0.006)
        cancelled += attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        await journals.two.append(commit)
    assert cancelled > 10
    assert await journals.two.commits(log, 0, 1000) == commits
    assert len(await journals.one.events(log_type(log), "a")) == 2000


async def test_the_log_is_read_up_to_a_gap(journals: Journals, make_commit: Make, log: str) -> None:
    """Where somebody has deleted a commit, readers stop: they never go on behind it."""
    for nr in (1, 2, 3):
        await journals.one.append(make_commit(nr))
    await execute(journals.two, f"DELETE FROM {{schema}}.commits WHERE log = '{log}' AND nr = 2")
    assert [commit.nr for commit in await journals.one.commits(log, 0, 10)] == [1]


async def test_large_commits_are_read_a_few_at_a_time(
    journals: Journals, make_commit: Make, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are asked for, an answer holds about a page of bytes."""
    monkeypatch.setattr("streams.journal.sql.journal.PAGE_BYTES", 40_000)
    for nr in range(1, 41):
        await journals.one.append(make_commit(nr, event("a", nr, bytes(5000))))
    found = await journals.two.commits(log, 0, 1000)
    assert 8 <= len(found) <= 20
    assert [commit.nr for commit in found] == list(range(1, len(found) + 1))


async def test_a_journal_that_is_closed_is_unavailable(
    journals: Journals, request: pytest.FixtureRequest, namespace: str, log: str
) -> None:
    """Work that comes after the end is told so, and closing twice is allowed."""
    kind = request.node.callspec.params["journals"]
    journal = open_journal(request.getfixturevalue(f"{kind}_url"), namespace, CONTEXT)
    await journal.open()
    await journal.close()
    await journal.close()
    with pytest.raises(Unavailable, match=r"not connected"):
        await journal.head(log)


@pytest.mark.parametrize("column", ["command", "principal"])
async def test_tables_of_an_older_version(journals: Journals, make_commit: Make, log: str, column: str) -> None:
    """Setting up adds the column that they lack; their rows stay, and say of it what is not known."""
    await journals.one.append(make_commit(1, event("a", 1)))
    await execute(journals.two, f"ALTER TABLE {{schema}}.events DROP COLUMN {column}")
    await journals.one.create()
    await journals.two.append(make_commit(2, event("a", 2)))
    rows = await journals.one.events(log_type(log), "a")
    assert ["", getattr(event("a", 2), column)] == [getattr(row.event, column) for row in rows]
