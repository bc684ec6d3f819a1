"""What follows from commits: it never ends unseen, and what it cannot write holds up nothing that it can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from streams.concurrency.tasks import cancel
from streams.deciding.cache import PendingSnapshot
from streams.journal.event_decoding import NotReadableYet
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, JournalMissing, SliceHead, Snapshot
from streams.ownership import derivation
from streams.ownership.derivation import ENOUGH_COMMITS, LINGER_SECONDS, MOST_PENDING, Derivation
from tests.unit.streams.ownership.owner_bench import OPEN, Bench
from tests.unit.until import until


class InvalidRequest(Exception):
    """As Cassandra's driver raises for a request that is too large."""


class Refusing(MemoryJournal):
    """A journal that raises what it should not."""

    index_error: Exception | None = None
    too_large: Sequence[str] = ()
    asked = 0

    async def derive(self, commits: Sequence[Commit]) -> None:
        if self.index_error is not None:
            raise self.index_error
        await super().derive(commits)

    async def save_snapshots(self, type: str, snapshots: Sequence[Snapshot]) -> None:
        self.asked += 1
        if any(snapshot.aggregate_id in self.too_large for snapshot in snapshots):
            raise InvalidRequest("Request is too big")
        await super().save_snapshots(type, snapshots)


@pytest.fixture
async def bench() -> Any:
    bench = Bench()
    yield bench
    await bench.close()


def commit(nr: int) -> Commit:
    return Commit("order@0", nr, 1, "o", "t", {0: SliceHead(nr)}, 0, datetime(2026, 11, 29, tzinfo=UTC))


class State:
    """Of an aggregate that encodes itself, or cannot."""

    def __init__(self, id: str, bad: bool = False) -> None:
        self.aggregate_id, self.bad = id, bad

    def encode(self) -> Snapshot:
        if self.bad:
            raise TypeError("dict keys must be str")
        return Snapshot(self.aggregate_id, 1, 1, 1, b"{}")


def snapshots(*states: State) -> list[PendingSnapshot]:
    return list(states)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a bug"),
        JournalMissing("the table is gone"),
        NotReadableYet("of tomorrow"),
        InvalidRequest("too big"),
    ],
)
async def test_an_indexer_that_fails(error: Exception) -> None:
    """Its owner sees the error, waits for it no more, and closes it at once."""
    journal = Refusing()
    journal.index_error = error
    indexer = Derivation("order@0", "order", journal)
    running = asyncio.create_task(indexer.run())
    async with asyncio.timeout(5):
        for nr in range(1, 2 * MOST_PENDING):
            await indexer.put(commit(nr), [])
    async with asyncio.timeout(20):
        await indexer.finish(60)
    assert error is running.exception()


async def test_an_owner_whose_rows_cannot_be_written(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is lost, and says why: the partition does not stand still unseen."""
    owner, journal, _ = await bench.owner()

    async def derive(commits: Sequence[Commit]) -> None:
        raise InvalidRequest("Request is too big")

    journal.derive = derive  # type: ignore[method-assign]
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: bool(bench.lost))
    assert not owner.is_owner
    assert "Request is too big" in owner.why_lost
    assert any("order@0: given up: what follows" in record.getMessage() for record in caplog.records)
    async with asyncio.timeout(20):
        await owner.close(60)


async def test_a_snapshot_that_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """It is left out and said once, be it for the store or for what the state is; those beside it are kept, and the
    commits behind it are indexed."""
    journal = Refusing()
    journal.too_large = ("large",)
    indexer = Derivation("order@0", "order", journal)
    running = asyncio.create_task(indexer.run())
    for nr in range(1, 4):
        await indexer.put(commit(nr), snapshots(State("a"), State("large"), State("odd", bad=True), State("b")))
    await until(lambda: indexer.derived_nr == 3)
    await indexer.finish(5)
    await cancel(running)
    assert [True, False, False, True] == [
        await journal.snapshot("order", id) is not None for id in ("a", "large", "odd", "b")
    ]
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert 2 == len(said)
    assert all("no snapshot of" in line for line in said)


class Counting(MemoryJournal):
    """A journal that counts the requests for rows, which take no time but when `gate` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def derive(self, commits: Sequence[Commit]) -> None:
        self.requests.append([commit.nr for commit in commits])
        await self.gate.wait()
        await super().derive(commits)


@pytest.fixture
def without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Company is waited for for ever."""
    monkeypatch.setattr(derivation, "LINGER_SECONDS", 1e9)


async def test_rows_wait_for_company() -> None:
    """Commits that come one by one are derived together, soon."""
    journal = Counting()
    rows = Derivation("order@0", "order", journal)
    running = asyncio.create_task(rows.run())
    await asyncio.sleep(LINGER_SECONDS - asyncio.get_running_loop().time() % LINGER_SECONDS)
    for nr in range(1, 6):
        await rows.put(commit(nr), [])
        await asyncio.sleep(0.01)
    assert 0 == rows.derived_nr
    await until(lambda: rows.derived_nr == 5)
    await cancel(running)
    assert [[1, 2, 3, 4, 5]] == journal.requests


async def test_enough_rows_do_not_wait(without_end: None) -> None:
    """As many as fill a request, or as many commits as an owner may soon have to wait for."""
    journal = Counting()
    rows = Derivation("order@0", "order", journal)
    running = asyncio.create_task(rows.run())
    async with asyncio.timeout(5):
        for nr in range(1, ENOUGH_COMMITS + 1):
            await rows.put(commit(nr), [])
        while rows.derived_nr < ENOUGH_COMMITS:
            await asyncio.sleep(0)
    await cancel(running)


async def test_whoever_ends_does_not_wait(without_end: None) -> None:
    """Neither for company of what is pending, nor of what comes while that is derived; and what ends in the middle of a
    request is derived to the end."""
    journal = Counting()
    journal.gate.clear()
    rows = Derivation("order@0", "order", journal)
    running = asyncio.create_task(rows.run())
    await rows.put(commit(1), [])
    finishing = asyncio.create_task(rows.finish(None))
    await until(lambda: journal.requests == [[1]])
    await rows.put(commit(2), [])
    async with asyncio.timeout(5):
        journal.gate.set()
        await finishing
    assert (2, [[1], [2]]) == (rows.derived_nr, journal.requests)
    await rows.finish(None)
    await rows.put(commit(3), [])
    await until(lambda: rows.derived_nr == 3)
    await cancel(running)


async def test_what_came_while_rows_were_written() -> None:
    """It has its own time for company, and is not forgotten."""
    journal = Counting()
    journal.gate.clear()
    rows = Derivation("order@0", "order", journal)
    running = asyncio.create_task(rows.run())
    await rows.put(commit(1), [])
    await until(lambda: journal.requests == [[1]])
    await rows.put(commit(2), [])
    await asyncio.sleep(2 * LINGER_SECONDS)  # its time comes, and goes, while the first is still being written
    journal.gate.set()
    await until(lambda: rows.derived_nr == 2)
    await cancel(running)


async def test_commands_do_not_wait(without_end: None) -> None:
    """What a process manager sends goes out at once."""
    dispatched: list[int] = []

    async def dispatch(commits: Sequence[Commit]) -> None:
        dispatched.extend(commit.nr for commit in commits)

    rows = Derivation("order@0", "order", Counting(), dispatch)
    running = asyncio.create_task(rows.run())
    async with asyncio.timeout(5):
        await rows.put(commit(1), [])
        while dispatched != [1]:
            await asyncio.sleep(0)
    await cancel(running)
