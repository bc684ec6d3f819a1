"""The layouts of types: which logs there are is said by conditional writes alone, and read as it was said last."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from streams.journal.layout import Layout, LogSpan, first_layout
from streams.journal.port import Journal, log_type
from tests.contract.conftest import Journals

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def type(log: str) -> str:
    """A type of which nobody has said a layout."""
    return log_type(log)


def split(layout: Layout, seat: int = 5, at: int = 1200) -> Layout:
    """The first log sealed, and its slices in two others."""
    parent, *rest = layout.logs
    first = max(log.number for log in layout.logs) + 1
    children = [
        LogSpan(number=first + n, seat=(parent.seat, seat)[n], slices=parent.slices[n::2], after=at, parents=(0,))
        for n in range(2)
    ]
    return replace(layout, version=layout.version + 1, logs=(replace(parent, sealed=at), *rest, *children))


async def test_nobody_has_said_it(journal: Journal, type: str) -> None:
    """A type has no layout before its first one."""
    assert await journal.layout(type) is None


async def test_a_layout_is_read_as_it_was_written(journals: Journals, type: str) -> None:
    """All that it says of all logs comes back, from every connection, and other types have none of it."""
    first = first_layout(32, 3)
    assert await journals.one.change_layout(type, first) == first
    assert await journals.two.layout(type) == first
    second = split(first)
    assert await journals.two.change_layout(type, second) == second
    assert await journals.one.layout(type) == second
    assert await journals.one.layout(f"{type}s") is None


async def test_the_first_one_wins(journals: Journals, type: str) -> None:
    """Whoever makes a first layout later, with whatever numbers, finds the one that is there."""
    first = await journals.one.change_layout(type, first_layout(8, 2))
    assert await journals.two.change_layout(type, first_layout(8, 4)) == first
    assert await journals.two.layout(type) == first


@pytest.mark.parametrize("version", [1, 2, 4])
async def test_a_change_of_another_version_is_refused(journals: Journals, type: str, version: int) -> None:
    """One that was made from an older layout, or from one that nobody has, changes nothing."""
    first = await journals.one.change_layout(type, first_layout(8, 2))
    second = await journals.one.change_layout(type, split(first))
    stale = replace(split(first, seat=7), version=version)
    assert await journals.two.change_layout(type, stale) == second
    assert await journals.one.layout(type) == second


async def test_a_change_may_be_repeated(journals: Journals, type: str) -> None:
    """Who does not know whether it had succeeded asks again, and finds what is there now: its own, or what followed."""
    first = first_layout(8, 2)
    for journal in (journals.one, journals.two):
        assert await journal.change_layout(type, first) == first
    second = split(first)
    for journal in (journals.two, journals.one):
        assert await journal.change_layout(type, second) == second
    assert await journals.one.change_layout(type, first) == second


async def test_one_of_many_first_ones_wins(journals: Journals, type: str) -> None:
    """Workers that start together agree on the logs."""
    wanted = [first_layout(8, logs) for logs in range(1, 9)]
    both = (journals.one, journals.two) * 4
    found = await asyncio.gather(*(one.change_layout(type, it) for one, it in zip(both, wanted, strict=True)))
    assert [found[0]] * 8 == list(found)
    assert found[0] in wanted
    assert await journals.one.layout(type) == found[0]


async def test_one_of_many_changes_wins_each_time(journals: Journals, type: str) -> None:
    """Of changes that race each version is one's alone: all who lose see what has won, and go on from there."""
    await journals.one.change_layout(type, first_layout(8, 2))
    won: list[tuple[int, int]] = []

    async def change(who: int, journal: Journal) -> None:
        for _ in range(5):
            present = await journal.layout(type)
            assert present is not None
            wanted = split(present, seat=who, at=1000 + who)
            found = await journal.change_layout(type, wanted)
            assert found.version > present.version
            if found == wanted:
                won.append((found.version, who))

    await asyncio.gather(*(change(who, (journals.one, journals.two)[who % 2]) for who in range(6)))
    last = await journals.two.layout(type)
    assert last is not None
    assert list(range(2, last.version + 1)) == sorted({version for version, _ in won})
    assert len(won) == len({version for version, _ in won})


async def test_what_is_read_never_goes_back(journals: Journals, type: str) -> None:
    """Once a change was acknowledged to anybody, everybody reads it or a newer one."""
    layout = await journals.one.change_layout(type, first_layout(8, 1))
    acknowledged, stop = layout.version, False

    async def read(journal: Journal) -> None:
        while not stop:
            least = acknowledged
            found = await journal.layout(type)
            assert found is not None
            assert found.version >= least
            await asyncio.sleep(0)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for journal in (journals.one, journals.two):
            tasks.create_task(read(journal))
        for _ in range(20):
            layout = await journals.one.change_layout(type, split(layout))
            acknowledged = layout.version
        stop = True
