"""Listeners: who reads the rows after it has begun to listen misses nothing, and holds nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.stores.changes import MOST_AGAIN, ChangeListener, ChangeNotifier, TooSlow
from projections.stores.local.queries import changes, place, raw
from projections.stores.rows import Changes, Checkpoint
from tests.flat_rows import flat
from tests.unit.rows_of_orders import TABLE, Orders


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path)


def woken(listener: ChangeListener) -> bool:
    return listener._woken.is_set()


def rows(*keys: str) -> Changes:
    return Changes(Checkpoint(1, 0, 1), {key: {} for key in keys})


async def test_only_who_listens_is_woken() -> None:
    """By a change of the row that it waits for, or of any when it waits for all, of its table and partition."""
    live = ChangeNotifier()
    with live.listening(TABLE, [0], "a") as one, live.listening(TABLE, [0, 1]) as every:
        live.changed(TABLE, 0, rows("b"))
        assert (False, True) == (woken(one), woken(every))
        assert {0: set()} == await every.wait()
        live.changed(TABLE, 1, rows("a"))
        live.changed("orders-2", 0, rows("a"))
        assert (False, True) == (woken(one), woken(every))
        assert {1: set()} == await every.wait()
        live.changed(TABLE, 0, rows("a", "c"))
        assert {0: set()} == await one.wait() == await every.wait()


async def test_changes_meanwhile_are_one() -> None:
    """However often rows change before a listener looks, it is woken once, and holds the partitions alone."""
    live = ChangeNotifier()
    with live.listening(TABLE, [0, 1]) as listener:
        for number in range(1_000):
            live.changed(TABLE, number % 2, rows(f"{number}"))
        assert {0: set(), 1: set()} == await listener.wait()
        assert not woken(listener)


async def test_nobody_listens() -> None:
    """What nobody listens to leaves nothing behind."""
    live = ChangeNotifier()
    for key in (None, "a"):
        with live.listening(TABLE, [0, 1], key), live.listening(TABLE, [0], key):
            live.changed(TABLE, 0, rows("a"))
    assert {} == live._listening


async def test_keys_that_are_folded_anew_are_bounded() -> None:
    """They are told by name; a listener that lets too many of them wait is sent away."""
    listener = ChangeListener()
    listener.wake(0, [str(number) for number in range(MOST_AGAIN)])
    assert MOST_AGAIN == len((await listener.wait())[0])
    listener.wake(0, [str(number) for number in range(MOST_AGAIN + 1)])
    with pytest.raises(TooSlow):
        await listener.wait()


async def test_a_row_is_told_of_when_it_is_kept(orders: Orders) -> None:
    """When a listener is woken, it reads the change; a key that was released is named, whatever its position."""
    with orders.live.listening(TABLE, [0], "a") as one, orders.live.listening(TABLE, [0]) as every:
        saving = asyncio.create_task(orders.save(0, {"a": ("open", (1, 0))}, released=["a"]))
        assert {0: set()} == await one.wait()
        value = raw(orders.store, 0, TABLE, "a")
        assert value is not None
        assert "open" == flat(value)["status"]
        assert {0: {"a"}} == await every.wait()
        await saving


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=30), st.integers(0, 5))
def test_nothing_is_missed_between_reading_and_listening(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[str, int]], late: int
) -> None:
    """Whenever a reader begins, and however the writer gets ahead of it, in the end it has the last state of every row
    that has changed since it began."""
    orders = Orders(tmp_path_factory.mktemp("orders"))
    seen: dict[str, str] = {}

    async def read() -> None:
        for _ in range(late):
            await asyncio.sleep(0)
        with orders.live.listening(TABLE, [0]) as listener:
            at = place(orders.store, 0, TABLE).at
            began.append(at)
            while True:
                for change in changes(orders.store, 0, TABLE, at, 2):
                    at, seen[change.key] = change.at, flat(change.row)["status"]
                    await asyncio.sleep(0)
                if not changes(orders.store, 0, TABLE, at, 1):
                    await listener.wait()

    async def write() -> None:
        reader = asyncio.create_task(read())
        for nr, (key, pauses) in enumerate(writes, 1):
            await orders.save(0, {key: (f"{nr}", (nr, 0))})
            for _ in range(pauses):
                await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        reader.cancel()

    began: list[tuple[int, int]] = []
    asyncio.run(write())
    newest = {key: nr for nr, (key, _) in enumerate(writes, 1)}
    assert {key: f"{nr}" for key, nr in newest.items() if (nr, 0) > began[0]} == seen
