"""What only SQLite can do to a journal: a file that is locked, damaged or missing, and processes that die over it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiosqlite
import pytest
import pytest_asyncio

from streams.journal.port import Commit, Fenced, Journal, JournalMissing, Unavailable, log_type
from streams.open_journal import open_journal
from streams.settings import SettingsError
from tests.contract.appending import EVENTS, numbered
from tests.contract.conftest import CONTEXT, event

pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Commit]
ROOT = Path(__file__).parents[2]


@pytest_asyncio.fixture(loop_scope="session")
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """A journal in a new file, `shop_orders.db`."""
    journal = open_journal(f"sqlite:///{tmp_path}/shop.db", "", CONTEXT)
    await journal.create()
    await journal.open()
    yield journal
    await journal.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where that journal is."""
    return tmp_path / "shop_orders.db"


async def test_a_locked_file_is_waited_for(
    journal: Journal, file: Path, make_commit: Make, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process writes, an append is unavailable, reads go on, and afterwards the same append succeeds."""
    await journal.append(make_commit(1))
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"^SQLite at .*shop_orders\.db: .*database is locked"):
            await journal.append(make_commit(2, event("a", 1)))
        assert await journal.head(log) == make_commit(1)
        waiting = asyncio.create_task(journal.append(make_commit(2, event("a", 1))))
        await asyncio.sleep(0.2)  # it waits now; the outcome is the same if it does not yet
        other.execute("ROLLBACK")
    await waiting
    assert await journal.head(log) == make_commit(2, event("a", 1))


async def test_many_readers_of_a_busy_process(
    tmp_path: Path, make_commit: Make, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for one another as long as it takes: a process that comes to them late is no store that fails."""
    monkeypatch.setattr("streams.journal.sql.sqlite.POOL_SECONDS", 0.01)
    journal = open_journal(f"sqlite:///{tmp_path}/shop.db", "", CONTEXT)
    await journal.create()
    await journal.open()
    await journal.append(make_commit(1))
    reading = [asyncio.create_task(journal.head(log)) for _ in range(200)]
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 the whole process stands still, and whatever is due in it is late
    assert [make_commit(1)] * 200 == await asyncio.gather(*reading)
    await journal.close()


async def test_an_error_after_the_commit_is_settled_by_repeating_it(
    journal: Journal, make_commit: Make, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The append was written and says that it was not known: the repeat succeeds, a takeover at its place is fenced."""
    commit = aiosqlite.Connection.commit

    async def commit_and_fail(self: aiosqlite.Connection) -> None:
        await commit(self)
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(aiosqlite.Connection, "commit", commit_and_fail)
        with pytest.raises(Unavailable, match=r"disk I/O error"):
            await journal.append(make_commit(1, event("a", 1)))
    with pytest.raises(Fenced):
        await journal.append(make_commit(1, epoch=2, owner="b"))
    await journal.append(make_commit(1, event("a", 1)))
    assert await journal.commits(log, 0, 10) == [make_commit(1, event("a", 1))]


async def test_an_error_before_the_commit_is_settled_by_repeating_it(
    journal: Journal, make_commit: Make, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The append came to nothing: the repeat succeeds, and so would a takeover at its place."""

    async def fail(self: aiosqlite.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(aiosqlite.Connection, "commit", fail)
        with pytest.raises(Unavailable, match=r"disk is full"):
            await journal.append(make_commit(1, event("a", 1)))
    assert await journal.head(log) is None
    await journal.append(make_commit(1, event("a", 1)))


def start(*arguments: str) -> subprocess.Popen[str]:
    """A process that appends."""
    command = [sys.executable, "-m", "tests.contract.appending", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def test_killed_processes_leave_a_dense_log(tmp_path: Path, file: Path, journal: Journal) -> None:
    """kill -9 in the middle of appends, of three processes on one file: each log is dense, holds all that was
    acknowledged and at most one commit more, and each commit has its derived rows."""
    chance = random.Random(9)
    logs = [f"order@{number}" for number in range(3)]
    acknowledged = dict.fromkeys(logs, 0)
    for _ in range(4):
        arguments = [f"sqlite:///{tmp_path}/shop.db", "", CONTEXT]
        processes = {log: start(*arguments, log) for log in logs}
        for log, process in processes.items():
            assert process.stdout is not None
            for _ in range(chance.randint(3, 30)):
                acknowledged[log] = int(await asyncio.to_thread(process.stdout.readline))
        for log, process in processes.items():
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate()
            if lines := [line for line in rest.splitlines() if line]:
                acknowledged[log] = int(lines[-1])
        for log in logs:
            found = list(await journal.commits(log, 0, 10_000))
            assert found == [numbered(log, nr) for nr in range(1, len(found) + 1)]
            assert len(found) in (acknowledged[log], acknowledged[log] + 1)
            rows = await journal.events(log_type(log), log)
            assert [row.event.sequence for row in rows] == list(range(1, len(found) * EVENTS + 1))


async def test_a_commit_is_on_the_disk_when_it_is_acknowledged(journal: Journal, file: Path) -> None:
    """Every connection of a journal syncs each commit, and the file has a log that readers do not wait for."""
    engines = journal._session._open  # type: ignore[attr-defined]
    for engine in (engines.writes, engines.reads):
        async with engine.connect() as connection:
            synchronous = (await connection.exec_driver_sql("PRAGMA synchronous")).scalar()
            mode = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar()
        assert (2, "wal") == (synchronous, mode)  # 2 is FULL


async def test_a_file_that_is_gone_is_not_made_by_looking(tmp_path: Path) -> None:
    """Only `create` makes a file, and the folders above it."""
    journal = open_journal(f"sqlite:///{tmp_path}/data/shop.db", "", CONTEXT)
    with pytest.raises(JournalMissing, match=r"faust -A <app> setup"):
        await journal.open()
    assert os.listdir(tmp_path) == []
    await journal.create()
    assert ["shop_orders.db"] == os.listdir(tmp_path / "data")


async def test_many_make_a_new_file_at_the_same_moment(tmp_path: Path) -> None:
    """Whoever comes second finds the tables, or waits for them; nobody fails."""
    for number in range(5):
        url = f"sqlite:///{tmp_path}/{number}.db"
        await asyncio.gather(*(open_journal(url, "", CONTEXT).create() for _ in range(8)))
        journal = open_journal(url, "", CONTEXT)
        await journal.open()
        await journal.close()


@pytest.mark.parametrize("content", ["this is a text, and long enough to look like the header of one" * 20])
async def test_a_file_of_another_kind_is_a_wrong_setting(tmp_path: Path, content: str) -> None:
    """What is no database is left as it is."""
    file = tmp_path / "shop_orders.db"
    file.write_text(content)
    journal = open_journal(f"sqlite:///{tmp_path}/shop.db", "", CONTEXT)
    for attempt in (journal.create, journal.open):
        with pytest.raises(SettingsError, match=r"^JOURNAL_URL: .* is not an SQLite database"):
            await attempt()
    assert content == file.read_text()
