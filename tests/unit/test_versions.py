"""Which tables are kept, which one answers, and which are removed, when versions and builds of a projection follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from projections.control import Control
from projections.kept import Kept
from projections.source import Source
from projections.switching import Switching
from tests.unit.read_side import EVENTS, Bug, DeadLetters, Log, StoredRows, soon


class Alone:
    """The doors of a worker that is alone and has partition 0, the only one or the first of two."""

    def __init__(self) -> None:
        self.all_partitions = [0]

    def here(self, name: str) -> list[int]:
        return [0]

    async def each(self, name: str, path: str, tables: Any, here: Callable[[], Any]) -> list[Any]:
        return [await here()]


@dataclass
class Worker:
    """One worker of orders."""

    log: Log
    rows: StoredRows
    control: Control
    source: Source
    doors: Alone = field(default_factory=Alone)

    async def looked(self) -> None:
        """As the leader does again and again."""
        await Switching({"order": self.source}, self.control, self.doors)._look()  # type: ignore[arg-type]
        await self.source.follow()

    @property
    def kept(self) -> set[str]:
        return set(self.source.partitions[0].tables)

    @property
    def stored(self) -> set[str]:
        return {table for _, table in self.rows.kept_places}

    async def current(self, table: str) -> None:
        await soon(lambda: self.source.partitions[0].is_current(table), f"{table} has all")


@asynccontextmanager
async def worker(log: Log, rows: StoredRows, *versions: int, bug: Bug | None = None) -> AsyncIterator[Worker]:
    """It has these versions of the projection `orders`."""
    control = Control("control", log.topics, log.topics)  # type: ignore[arg-type]
    await control.start()
    kept: Sequence[Kept] = [Kept((bug or Bug()).projection("orders", version)) for version in versions]
    one: Any = (control, log.topics, log.reader, DeadLetters(), asyncio.Semaphore(4))
    source = Source("order", EVENTS, kept, lambda kept: rows, lambda rows: [0], *one)
    await source.open()
    try:
        yield Worker(log, rows, control, source)
    finally:
        await source.close()
        await control.close()


@pytest.fixture
async def log() -> Log:
    log = Log()
    await log.add("a", "1")
    return log


async def test_a_new_version_takes_over_when_it_is_complete(log: Log) -> None:
    """New code leaves the table of the old one as it is, which goes on answering; then its own answers, once."""
    rows = StoredRows()
    async with worker(log, rows, 1) as old:
        await old.current("orders-1")
        await old.looked()
        assert "orders-1" == old.control.serving("orders")
    await log.add("a", "2")
    async with worker(log, rows, 2) as new:
        assert ({"orders-2"}, "orders-1") == (new.kept, new.control.serving("orders"))
        await new.current("orders-2")
        assert 1 == await new.source.complete(0, "orders-1"), "its code is gone"
        await new.looked()
        assert "orders-2" == new.control.serving("orders")
        offset = new.control.offset
        await new.looked()
        assert offset == new.control.offset
        assert ({"a": ["1"]}, {"a": ["1", "2"]}) == (rows.lines("orders-1"), rows.lines("orders-2"))


async def test_both_versions_are_kept_up_to_date(log: Log) -> None:
    """Code that has both keeps both, before and after the switch; the newest answers."""
    rows = StoredRows()
    async with worker(log, rows, 1) as old:
        await old.current("orders-1")
        await old.looked()
    async with worker(log, rows, 1, 2) as both:
        await both.current("orders-2")
        assert {"orders-1", "orders-2"} == both.kept
        await both.looked()
        assert "orders-2" == both.control.serving("orders")
        await log.add("a", "2")
        await soon(lambda: rows.lines("orders-1") == rows.lines("orders-2") == {"a": ["1", "2"]})


async def test_old_code_comes_back(log: Log) -> None:
    """What a newer version has dropped meanwhile is built again, and answers when it is complete."""
    rows = StoredRows()
    for version in (1, 2):
        async with worker(log, rows, version) as it:
            await it.current(f"orders-{version}")
            await it.looked()
    async with worker(log, rows, 2) as new:
        await new.control.drop("orders-1")
        await new.source.follow()
        await soon(lambda: new.stored == {"orders-2"})
    async with worker(log, rows, 1) as old:
        await old.current("orders-1")
        await old.looked()
        assert ("orders-1", {"a": ["1"]}) == (old.control.serving("orders"), rows.lines("orders-1"))
    async with worker(log, rows, 2) as new:
        await new.looked()
        await asyncio.sleep(0.02)
        assert {"orders-1", "orders-2"} == new.stored, "the drop was of another day"


async def test_a_rebuild_takes_over_and_the_old_one_stands_still(log: Log) -> None:
    """A new table of the same version is built beside; when it answers the old one is not kept any more."""
    rows = StoredRows()
    async with worker(log, rows, 1) as it:
        await it.current("orders-1")
        await it.looked()
        await it.control.build_again("orders", 1)
        await it.source.follow()
        assert {"orders-1", "orders-1.1"} == it.kept
        await it.current("orders-1.1")
        await it.looked()
        assert ({"orders-1.1"}, "orders-1.1") == (it.kept, it.control.serving("orders"))


async def test_only_what_nobody_needs_is_removed(log: Log) -> None:
    """Neither what answers nor what is wanted, whatever is ordered; what was ordered while nobody was there, later."""
    rows = StoredRows()
    async with worker(log, rows, 1) as it:
        await it.current("orders-1")
        await it.looked()
        await it.control.build_again("orders", 1)
        await it.source.follow()
        await it.current("orders-1.1")
        for table in ("orders-1", "orders-1.1", "orders-7"):
            await it.control.drop(table)
        await it.source.follow()
        await asyncio.sleep(0.02)
        assert {"orders-1", "orders-1.1"} == it.stored
        await it.source.close()
        await it.control.serve("orders", "orders-1.1")
        await it.source.open()
        await soon(lambda: it.stored == {"orders-1.1"})


async def test_not_before_every_partition_is_complete(log: Log) -> None:
    """One partition that is not here, or not complete, keeps the table from answering."""
    async with worker(log, StoredRows(), 1) as it:
        it.doors.all_partitions = [0, 1]
        await it.current("orders-1")
        await it.looked()
        assert it.control.serving("orders") is None


async def test_keys_that_wait_keep_a_table_from_answering(log: Log) -> None:
    """A table in which a key waits that does not wait in the one that answers would go back; the first of all would
    not, nor one in which nothing waits but what did before."""
    rows, bug = StoredRows(), Bug({"bad"})
    position = await log.add("a", "bad")
    async with worker(log, rows, 1, bug=bug) as it:
        await it.current("orders-1")
        await it.looked()
        assert "orders-1" == it.control.serving("orders")
        await it.control.build_again("orders", 1)
        await it.source.follow()
        await it.current("orders-1.1")
        await it.looked()
        assert "orders-1.1" == it.control.serving("orders")
    worse = await log.add("b", "worse")
    async with worker(log, rows, 1, bug=bug) as it:
        await it.current("orders-1.1")
    bug.skus.add("worse")
    async with worker(log, rows, 2, bug=bug) as it:
        await it.current("orders-2")
        await it.looked()
        assert "orders-1.1" == it.control.serving("orders"), f"{worse} is new, {position} is not"
        bug.skus.remove("worse")
        await it.control.build_again("orders", 2)
        await it.source.follow()
        await it.current("orders-2.1")
        await it.looked()
        assert "orders-2.1" == it.control.serving("orders")
