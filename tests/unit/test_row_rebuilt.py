"""One row folded anew from the log: by a projection that was mended, or without an event that is to be skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from projections import partition as partition_module
from projections.partition import Partition
from projections.projection import Projection
from projections.rebuilding import fold_key, fold_waiting
from projections.rows import GONE, StoreDown
from tests.unit.read_side import Bug, DeadLetters, Log, StoredRows, partition_of, soon, wanted

TABLE = "orders-1"
LOCAL = "by-sku-1"


@asynccontextmanager
async def kept(log: Log, rows: StoredRows, *tables: tuple[str, Projection]) -> AsyncIterator[Partition]:
    """A partition with these tables, which have all that is there."""
    async with opened(log, rows, *tables) as (partition, _):
        yield partition


@asynccontextmanager
async def opened(
    log: Log, rows: StoredRows, *tables: tuple[str, Projection]
) -> AsyncIterator[tuple[Partition, DeadLetters]]:
    partition, letters = partition_of(log)
    await partition.open([wanted(table, projection, rows) for table, projection in tables])
    await soon(lambda: all(partition.is_current(table) for table, _ in tables))
    try:
        yield partition, letters
    finally:
        await partition.close()


async def skip(partition: Partition, rows: StoredRows, projection: Projection, skips: Mapping[str, str]) -> None:
    await partition.follow([wanted(TABLE, projection, rows, skips=skips)])


def waiting(partition: Partition, table: str = TABLE) -> dict[str, tuple[str, int]]:
    """Where each key in quarantine waits, and how many events."""
    return {key: (its.position, its.events) for key, its in partition.tables[table].quarantined.items()}


async def test_a_mended_projection_folds_the_row_to_its_end() -> None:
    """All events of the key that waited are applied, in order, and later ones follow; other rows are as they were."""
    log, rows, bug = Log(), StoredRows(), Bug({"bad"})
    await log.add("a", "1")
    await log.add("b", "1")
    position = await log.add("a", "bad", "2")
    await log.add("b", "2")
    async with opened(log, rows, (TABLE, bug.projection())) as (partition, letters):
        assert {"a": (position.replace(":1", ":0"), 2)} == waiting(partition)
        assert ["a", "a"] == [key for _, key, _ in letters.kept]
        assert {"a": ["1"], "b": ["1", "2"]} == rows.lines(TABLE)
        [row] = await fold_key(partition, "orders", "a")
        assert row.waits is not None
        assert ("ValueError: cannot take bad", 2) == (row.waits.error, row.waits.events)
        assert {"a": ["1"], "b": ["1", "2"]} == rows.lines(TABLE)
        bug.skus.clear()
        [row] = await fold_key(partition, "orders", "a")
        assert (position, None) == (row.position, row.waits)
        assert ({}, ["1", "bad", "2"]) == (waiting(partition), rows.lines(TABLE)["a"])
        await log.add("a", "3")
        await soon(lambda: rows.lines(TABLE)["a"] == ["1", "bad", "2", "3"])
    async with kept(log, rows, (TABLE, bug.projection())) as partition:
        assert {} == waiting(partition), "the store has it, too"


async def test_a_skipped_event_is_left_out_for_ever() -> None:
    """The key goes on without it at once, its row counts it, and a table that is built later leaves it out, too."""
    log, rows, bug = Log(), StoredRows(), Bug({"bad"})
    await log.add("a", "1")
    position = await log.add("a", "bad")
    await log.add("a", "2")
    skips = {position: "why"}
    async with kept(log, rows, (TABLE, bug.projection())) as partition:
        await skip(partition, rows, bug.projection(), skips)
        [row] = await fold_waiting(partition, "orders", position)
        assert ("a", None) == (row.key, row.waits)
        assert ({}, ["1", "2"]) == (waiting(partition), rows.lines(TABLE)["a"])
        assert 4 == rows.kept_rows[0, TABLE]["a"]["sequence"]
        assert [] == await fold_waiting(partition, "orders", position)
        new = wanted("orders-1.1", bug.projection(), rows, skips=skips)
        await partition.follow([wanted(TABLE, bug.projection(), rows, skips=skips), new])
        await soon(lambda: partition.is_current("orders-1.1"))
        assert rows.lines(TABLE) == rows.lines("orders-1.1")


async def test_the_next_event_that_raises() -> None:
    """Behind a skipped event the key waits at the next one that raises; what lies between is applied."""
    log, rows, bug = Log(), StoredRows(), Bug({"bad", "worse"})
    await log.add("a", "1")
    first = await log.add("a", "bad")
    await log.add("a", "2")
    second = await log.add("a", "worse")
    await log.add("a", "3")
    async with kept(log, rows, (TABLE, bug.projection())) as partition:
        assert {"a": (first, 4)} == waiting(partition)
        await skip(partition, rows, bug.projection(), {first: "why"})
        [row] = await fold_waiting(partition, "orders", first)
        assert row.waits is not None
        assert ({"a": (second, 2)}, ["1", "2"]) == (waiting(partition), rows.lines(TABLE)["a"])
        await log.add("a", "4")
        await soon(lambda: waiting(partition) == {"a": (second, 3)})
    async with kept(log, rows, (TABLE, bug.projection())) as partition:
        assert {"a": (second, 3)} == waiting(partition)


async def test_a_good_row_is_not_given_up() -> None:
    """When the code of today raises on what that of yesterday could fold, the row stays as it is, and does not wait."""
    log, rows, bug = Log(), StoredRows(), Bug()
    await log.add("a", "1", "bad")
    async with kept(log, rows, (TABLE, bug.projection())) as partition:
        bug.skus.add("bad")
        [row] = await fold_key(partition, "orders", "a")
        assert row.waits is not None
        assert ({}, {"a": ["1", "bad"]}) == (waiting(partition), rows.lines(TABLE))


async def test_a_row_that_is_wrong_becomes_right() -> None:
    """The row is made from the log alone, whatever stood there."""
    log, rows, bug = Log(), StoredRows(), Bug()
    await log.add("a", "1", "2")
    async with kept(log, rows, (TABLE, bug.projection())) as partition:
        before = rows.kept_rows[0, TABLE]["a"]
        rows.kept_rows[0, TABLE]["a"] = {**before, "skus": ["nonsense"]}
        await fold_key(partition, "orders", "a")
        assert before == rows.kept_rows[0, TABLE]["a"]


async def test_no_such_row() -> None:
    """Where neither table nor log know the key there is nothing, and nothing is kept."""
    log, rows = Log(), StoredRows()
    await log.add("a", "1")
    async with kept(log, rows, (TABLE, Bug().projection()), (LOCAL, Bug().by_sku())) as partition:
        assert [[], [], []] == [
            await fold_key(partition, *of) for of in (("orders", "none"), ("by-sku", "none"), ("none", "a"))
        ]
        assert {"a"} == rows.kept_rows[0, TABLE].keys()


async def test_rows_over_many_aggregates() -> None:
    """They are folded from the whole log of the partition; one that no event touches any more is removed."""
    log, rows, bug = Log(), StoredRows(), Bug({"bad"})
    for key in ("a", "b", "c"):
        await log.add(key, "1", "2")
    await log.add("b", "bad")
    await log.add("c", "bad")
    async with kept(log, rows, (LOCAL, bug.by_sku())) as partition:
        assert 2 == partition.tables[LOCAL].quarantined["bad"].events
        bug.skus.clear()
        [row] = await fold_key(partition, "by-sku", "bad")
        assert (["b", "c"], {}) == (rows.kept_rows[0, LOCAL]["bad"]["orders"], waiting(partition, LOCAL))
        rows.kept_rows[0, LOCAL]["old"] = {"orders": ["a"], "position": "order-0:1:1"}
        [row] = await fold_key(partition, "by-sku", "old")
        assert ("order-0:1:1", True) == (row.position, rows.kept_rows[0, LOCAL]["old"][GONE])


async def test_in_every_table_and_while_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is folded anew in the table that answers and in the one that is being built, which goes on afterwards."""
    monkeypatch.setattr(partition_module, "NEAR", 3)
    log, rows, slow, bug = Log(), StoredRows(), StoredRows(), Bug()
    for number in range(12):
        await log.add(f"o{number}", "1")
    let = asyncio.Event()
    async with kept(log, rows, (TABLE, bug.projection())) as partition:

        async def wait() -> None:
            await let.wait()

        slow.saving = wait
        tables = [wanted(TABLE, bug.projection(), rows), wanted("orders-1.1", bug.projection(), slow)]
        await partition.follow(tables)
        folding = asyncio.create_task(fold_key(partition, "orders", "o1"))
        await asyncio.sleep(0.02)
        let.set()
        assert {TABLE} == {row.table for row in await folding}, "the other has not come so far"
        await soon(lambda: partition.is_current("orders-1.1"))
        assert rows.lines(TABLE) == slow.lines("orders-1.1")
        assert [TABLE, "orders-1.1"] == [row.table for row in await fold_key(partition, "orders", "o1")]


async def test_a_store_that_is_down() -> None:
    """It says so, nothing has changed, and the table goes on when it answers."""
    log, rows = Log(), StoredRows()
    await log.add("a", "1")
    async with kept(log, rows, (TABLE, Bug().projection())) as partition:
        rows.down = True
        with pytest.raises(StoreDown):
            await fold_key(partition, "orders", "a")
        rows.down = False
        await log.add("a", "2")
        await soon(lambda: rows.lines(TABLE) == {"a": ["1", "2"]})


async def test_events_go_on_while_a_row_is_folded() -> None:
    """The row has what came in the meantime, once."""
    log, rows, bug = Log(), StoredRows(), Bug()
    await log.add("a", "0")
    async with kept(log, rows, (TABLE, bug.projection())) as partition:

        async def write() -> None:
            for number in range(1, 60):
                await log.add("a", f"{number}")
                await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        while not writing.done():
            await fold_key(partition, "orders", "a")
            await asyncio.sleep(0)
        await soon(lambda: len(rows.lines(TABLE)["a"]) == 60)
        assert [f"{number}" for number in range(60)] == rows.lines(TABLE)["a"]
