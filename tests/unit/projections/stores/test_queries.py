"""Pages and changes of rows in RocksDB, on a real disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from projections.stores.local import queries
from projections.stores.local.queries import changes, counts, listed, refolded, scan, scan_in_turns
from projections.stores.local.store import TableError
from projections.stores.rows import decode_row
from streams.concurrency import fairness
from tests.unit.rows_of_orders import TABLE, Orders


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path)


def ids(orders: Orders, under: tuple[str, str] | None, after: str, most: int) -> list[str]:
    found = listed(orders.store, [0, 1], TABLE, under, after, most)
    assert all(key == decode_row(row)["id"] for key, row in found)
    return [key for key, _ in found]


def changed(orders: Orders, after: tuple[int, int], most: int = 10) -> list[tuple[tuple[int, int], str]]:
    return [(change.at, change.key) for change in changes(orders.store, 0, TABLE, after, most)]


async def test_pages_run_over_partitions(orders: Orders) -> None:
    """Rows of several partitions come by their keys, from behind a key, without those that were removed."""
    await orders.save(0, {"a": ("open", (1, 0)), "c": ("placed", (2, 0)), "é": ("open", (3, 0))})
    await orders.save(1, {"b": ("open", (1, 0)), "d": ("gone", (2, 0)), "e": ("open", (3, 0))})
    for under, keys in ((None, ["a", "b", "c", "e", "é"]), (("status", "open"), ["a", "b", "e", "é"])):
        assert keys == ids(orders, under, "", 10)
        assert keys[:2] == ids(orders, under, "", 2)
        assert keys[1:3] == ids(orders, under, "a", 2)
        assert [] == ids(orders, under, "é", 10)
    assert [] == ids(orders, ("status", "shipped"), "", 10)


async def test_long_scans_are_of_one_moment(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are read in turns are those of the beginning, whatever is written meanwhile; others have fairness."""
    monkeypatch.setattr(queries, "AT_ONCE", 10)
    monkeypatch.setattr(fairness, "TURN_SECONDS", 1e-5)
    before = {f"{number:04}": ("open", (1, number)) for number in range(1_000)}
    await orders.save(0, before)
    expected, rounds = list(scan(orders.store, 0, TABLE)), 0
    reading = asyncio.create_task(scan_in_turns(orders.store, 0, TABLE))
    while not reading.done():
        await asyncio.sleep(0)
        rounds += 1
        if rounds == 20:
            await orders.save(0, {"0999": ("placed", (2, 0)), "0998": ("gone", (2, 1)), "1000": ("open", (2, 2))})
    assert expected == await reading
    assert 1_000 == len(expected)
    assert 50 < rounds
    assert expected[5:8] == await scan_in_turns(orders.store, 0, TABLE, "0005", "0008")
    assert 1_000 == len(await scan_in_turns(orders.store, 0, TABLE))
    assert [] == await scan_in_turns(orders.store, 5, TABLE)


async def test_a_scan_ends_when_its_partition_leaves(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises, and lets go of the partition, rather than tell half of it."""
    monkeypatch.setattr(queries, "AT_ONCE", 10)
    monkeypatch.setattr(fairness, "TURN_SECONDS", 1e-5)
    await orders.save(0, {f"{number:04}": ("open", (1, number)) for number in range(1_000)})
    reading = asyncio.create_task(scan_in_turns(orders.store, 0, TABLE))
    for _ in range(20):
        await asyncio.sleep(0)
    orders.store._dbs.pop(0)
    with pytest.raises(TableError, match="moved"):
        await reading


async def test_a_page_begins_behind_a_key_that_is_gone(orders: Orders) -> None:
    """The key that a page ends with may leave the list before the next page is asked for."""
    await orders.save(0, {"a": ("open", (1, 0)), "b": ("open", (1, 1)), "c": ("open", (1, 2))})
    await orders.save(0, {"b": ("gone", (2, 0))})
    assert ["c"] == ids(orders, None, "b", 10) == ids(orders, ("status", "open"), "b", 10)
    assert {"open": 2} == counts(orders.store, 0, TABLE, "status")


async def test_changes_in_their_order(orders: Orders) -> None:
    """Each row that has changed since a position comes once, where it changed last, removed ones too."""
    await orders.save(0, {"a": ("open", (1, 0)), "b": ("open", (1, 1)), "c": ("open", (2, 0))})
    await orders.save(0, {"a": ("placed", (3, 0)), "b": ("gone", (3, 1))})
    assert [((2, 0), "c"), ((3, 0), "a"), ((3, 1), "b")] == changed(orders, (0, -1)) == changed(orders, (1, 1))
    assert [((3, 0), "a"), ((3, 1), "b")] == changed(orders, (2, 0))
    assert [((3, 0), "a")] == changed(orders, (2, 0), 1)
    assert [] == changed(orders, (3, 1))


async def test_no_change_beyond_the_place(orders: Orders) -> None:
    """Where a batch is on the changelog in part, a row that is ahead of the table's place is not told of: rows with
    older positions are still to come, and who had heard of the one would not hear of the others."""
    await orders.save(0, {"a": ("open", (1, 0))})
    await orders.save(0, {"a": ("placed", (5, 0))}, place=(1, 0))
    assert [] == changed(orders, (1, 0))
    await orders.save(0, {"b": ("open", (4, 0))}, place=(5, 0))
    assert [((4, 0), "b"), ((5, 0), "a")] == changed(orders, (1, 0))


async def test_rows_folded_anew(orders: Orders) -> None:
    """A key that was folded anew is remembered: its row may have changed without a newer position."""
    await orders.save(0, {"a": ("open", (1, 0)), "b": ("open", (2, 0))})
    assert [] == refolded(orders.store, 0, TABLE)
    await orders.save(0, {"a": ("placed", (1, 0))}, place=(2, 0), released=["a"])
    assert ["a"] == refolded(orders.store, 0, TABLE)
    assert [] == changed(orders, (2, 0))
