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
from streams.ownership.derivation import MOST_PENDING, Derivation
from tests.unit.streams.ownership.test_owner import OPEN, Bench, until


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
    async with asyncio.timeout(1):
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
    async with asyncio.timeout(1):
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
