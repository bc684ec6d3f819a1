"""The tables of one partition: those that are up to date go together, who is behind catches up, and all say how far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from projections import partition as partition_module
from projections.partition import Partition, Wanted
from projections.rows import StoreDown
from tests.unit.read_side import Bug, Log, StoredRows, partition_of, soon, wanted

OLD, NEW = "orders-1", "orders-1.1"


@pytest.fixture(autouse=True)
def _near(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few events are behind."""
    monkeypatch.setattr(partition_module, "NEAR", 3)


@asynccontextmanager
async def opened(log: Log, *tables: Wanted, slots: int = 4) -> AsyncIterator[Partition]:
    partition, _ = partition_of(log, slots)
    await partition.open(tables)
    try:
        yield partition
    finally:
        await partition.close()


def gate() -> tuple[Callable[[], Awaitable[None]], asyncio.Event]:
    """What to wait for before a save, and the event that lets it happen."""
    event = asyncio.Event()

    async def wait() -> None:
        await event.wait()

    return wait, event


async def test_the_first_table_is_not_complete_before_it_has_all() -> None:
    """A table that begins with nothing, alone, is current only when it has all that was there when it began."""
    log, rows = Log(), StoredRows()
    for number in range(6):
        await log.add(f"o{number}", "a")
    rows.saving, let = gate()
    async with opened(log, wanted(OLD, Bug().projection(), rows)) as partition:
        await asyncio.sleep(0.02)
        assert not partition.is_current(OLD)
        let.set()
        await soon(lambda: partition.is_current(OLD))
        assert 6 == len(rows.lines(OLD))


@pytest.mark.parametrize("events", [2, 40])
async def test_a_new_table_is_complete_when_it_has_what_the_other_has(events: int) -> None:
    """However near it is, beside one that is ahead it is current only when it stands where that one does; the old one
    is kept up to date meanwhile."""
    log, old_rows, new_rows, projection = Log(), StoredRows(), StoredRows(), Bug().projection()
    for number in range(events):
        await log.add(f"o{number}")
    async with opened(log, wanted(OLD, projection, old_rows)) as partition:
        await soon(lambda: partition.is_current(OLD))
    new_rows.saving, let = gate()
    async with opened(log, wanted(OLD, projection, old_rows), wanted(NEW, projection, new_rows)) as partition:
        if events > partition_module.NEAR:
            await log.add("later", "a")
            await soon(lambda: "later" in old_rows.lines(OLD))
            await soon(lambda: partition.is_current(OLD))
        assert not partition.is_current(NEW)
        let.set()
        await soon(lambda: partition.is_current(NEW))
        assert old_rows.lines(OLD) == new_rows.lines(NEW)


async def test_both_go_together_from_then_on() -> None:
    """A table that has caught up is in the same batches as the others."""
    log, rows, projection = Log(), StoredRows(), Bug().projection()
    for number in range(20):
        await log.add(f"o{number}", "a")
    async with opened(log, wanted(OLD, projection, rows)) as partition:
        await partition.follow([wanted(OLD, projection, rows), wanted(NEW, projection, rows)])
        await soon(lambda: partition.is_current(NEW))
        await log.add("o1", "b")
        await soon(lambda: rows.lines(NEW)["o1"] == ["a", "b"])
        assert rows.kept_places[0, OLD] == rows.kept_places[0, NEW]
        assert rows.kept_rows[0, OLD] == rows.kept_rows[0, NEW]


async def test_what_the_topic_does_not_have_comes_from_the_log() -> None:
    """A build begins in the log where the topic does not reach back, and says how far it is in events all along."""
    log, rows, projection = Log(), StoredRows(), Bug().projection()
    for number in range(30):
        await log.add(f"o{number}", "a", "b")
    log.forget(75)
    seen: list[tuple[int, int]] = []
    async with opened(log, wanted(OLD, projection, StoredRows()), wanted(NEW, projection, rows)) as partition:

        async def look() -> None:
            if (progress := partition.progress(NEW)) is not None:
                seen.append((progress.done, progress.total))

        rows.saving = look
        await soon(lambda: partition.is_current(NEW))
        progress = partition.progress(NEW)
        assert progress is not None
        assert (90, 90) == (progress.done, progress.total)
    assert 30 == len(rows.lines(NEW))
    assert {"a", "b"} == {sku for skus in rows.lines(NEW).values() for sku in skus}
    assert seen == sorted(seen)


async def test_a_topic_that_holds_nothing() -> None:
    """All of a table is made from the log; afterwards it goes on with the topic, and begins there when opened again."""
    log, rows, projection = Log(), StoredRows(), Bug().projection()
    for number in range(10):
        await log.add(f"o{number}", "a")
    log.forget(20)
    async with opened(log, wanted(OLD, projection, rows)) as partition:
        await soon(lambda: partition.is_current(OLD))
        assert 10 == len(rows.lines(OLD))
        await partition.follow([wanted(OLD, projection, rows), wanted(NEW, projection, rows)])
        await soon(lambda: partition.is_current(NEW))
        assert 20 == rows.kept_places[0, NEW].offset
        await log.add("o1", "b")
        await soon(lambda: rows.lines(NEW)["o1"] == ["a", "b"])


async def test_a_paused_table_stands_still() -> None:
    """It stays as it is while the other goes on, and catches up afterwards."""
    log, rows, projection, other = Log(), StoredRows(), Bug().projection(), Bug().projection("others")
    async with opened(log, wanted(OLD, projection, rows), wanted("others-1", other, rows)) as partition:
        await log.add("o", "a")
        await soon(lambda: rows.lines(OLD))
        await partition.follow([wanted(OLD, projection, rows, paused=True), wanted("others-1", other, rows)])
        for _ in range(9):
            await log.add("o", "b")
        await soon(lambda: len(rows.lines("others-1")["o"]) == 10)
        assert ({"o": ["a"]}, False, None) == (rows.lines(OLD), partition.is_current(OLD), partition.progress(OLD))
        await partition.follow([wanted(OLD, projection, rows), wanted("others-1", other, rows)])
        await soon(lambda: partition.is_current(OLD))
        assert rows.lines("others-1") == rows.lines(OLD)


async def test_all_are_paused_and_go_on() -> None:
    """Where every table is paused nothing is read; who is not any more goes on where it was."""
    log, rows, projection = Log(), StoredRows(), Bug().projection()
    async with opened(log, wanted(OLD, projection, rows, paused=True)) as partition:
        await log.add("o", "a")
        await partition.follow([wanted(OLD, projection, rows)])
        await soon(lambda: partition.is_current(OLD) and rows.lines(OLD) == {"o": ["a"]})
        await partition.follow([wanted(OLD, projection, rows, paused=True)])
        await log.add("o", "b")
        await partition.follow([wanted(OLD, projection, rows)])
        await soon(lambda: rows.lines(OLD) == {"o": ["a", "b"]})


async def test_a_store_that_is_down_holds_up_only_its_own_tables() -> None:
    """When a partition is opened, and later: the other tables are kept, and it says why it is held until it answers."""
    log, up, down = Log(), StoredRows(), StoredRows()
    one, other = Bug().projection(), Bug().projection("others")
    down.down = True
    async with opened(log, wanted(OLD, one, up), wanted("others-1", other, down)) as partition:
        await log.add("o", "a")
        await soon(lambda: up.lines(OLD) and partition.is_current(OLD))
        await soon(lambda: "down" in partition.held("others-1"))
        assert ("", False) == (partition.held(OLD), partition.is_current("others-1"))
        down.down = False
        await soon(lambda: partition.is_current("others-1") and down.lines("others-1"))
        down.down = True
        await log.add("o", "b")
        await soon(lambda: up.lines(OLD)["o"] == ["a", "b"])
        await soon(lambda: "down" in partition.held("others-1"))
        down.down = False
        await soon(lambda: partition.is_current("others-1"))
        assert ("", up.lines(OLD)) == (partition.held("others-1"), down.lines("others-1"))


async def test_a_build_whose_store_is_down_leaves_its_place_to_others() -> None:
    """Where one table may be built at a time, one whose store is down does not keep the next from being built."""
    log, up, down, projection = Log(), StoredRows(), StoredRows(), Bug().projection()
    for number in range(20):
        await log.add(f"o{number}", "a")
    tables = [wanted(OLD, projection, up)]
    async with opened(log, *tables, slots=1) as partition:
        await soon(lambda: partition.is_current(OLD))
        down.down = True
        await partition.follow([*tables, wanted("down-1", Bug().projection("down"), down)])
        await soon(lambda: partition.held("down-1"))
        await partition.follow(
            [*tables, wanted("down-1", Bug().projection("down"), down), wanted(NEW, projection, up)]
        )
        await soon(lambda: partition.is_current(NEW))
        down.down = False
        await soon(lambda: partition.is_current("down-1"))


async def test_orders_are_followed_while_a_store_is_down() -> None:
    """A table can be paused, and the partition closed, whatever its store does."""
    log, down, projection = Log(), StoredRows(), Bug().projection()
    await log.add("o", "a")
    down.down = True
    async with asyncio.timeout(5), opened(log, wanted(OLD, projection, down)) as partition:
        await soon(lambda: partition.held(OLD))
        await partition.follow([wanted(OLD, projection, down, paused=True)])
        assert "" == partition.held(OLD)
        await partition.follow([wanted(OLD, projection, down)])
        await soon(lambda: partition.held(OLD))


async def test_work_ends_with_the_partition() -> None:
    """What is done for somebody else is broken off when the partition moves on, and says so."""
    log = Log()
    async with opened(log, wanted(OLD, Bug().projection(), StoredRows())) as partition:
        work = asyncio.create_task(partition.while_open(asyncio.Event().wait()))
        await asyncio.sleep(0.01)
    with pytest.raises(StoreDown, match="moved"):
        await work
