"""The commits of a slice, read behind the owners of the logs that have had it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from streams.journal.layout import Layout, LogSpan
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, SliceHead, Unavailable, log_name
from streams.journal.slice_log import LayoutReader, SliceLog

MOMENT = datetime(2011, 5, 31, tzinfo=UTC)


def commit(number: int, nr: int, slices: dict[int, SliceHead]) -> Commit:
    return Commit(log_name("order", number), nr, 1, "a", "t", slices, 0, MOMENT)


class Grown:
    """A slice, 0, which was in log 0 up to commit 3 with slice 1, and in log 2, alone, since; log 2 may be empty."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.known = LayoutReader(self.journal, "order")

    def slice(self, number: int) -> SliceLog:
        return SliceLog(self.journal, "order", number, self.known)

    async def begin(self) -> None:
        first = Layout(version=1, slices=2, logs=(LogSpan(number=0, seat=0, slices=(0, 1)),))
        await self.journal.change_layout("order", first)
        for nr in (1, 2, 3):
            await self.journal.append(commit(0, nr, {0: SliceHead(nr, min(nr, 2)), 1: SliceHead(nr, nr)}))
        await self.known.look()

    async def split(self) -> None:
        logs = (
            LogSpan(number=0, seat=0, slices=(0, 1), sealed=3),
            LogSpan(number=2, seat=0, slices=(0,), after=3, parents=(0,)),
            LogSpan(number=3, seat=1, slices=(1,), after=3, parents=(0,)),
        )
        await self.journal.change_layout("order", Layout(version=2, slices=2, logs=logs))
        await self.known.look()


@pytest.fixture
async def grown() -> Grown:
    grown = Grown()
    await grown.begin()
    return grown


def numbers(commits: Sequence[Commit]) -> list[tuple[str, int]]:
    return [(it.log, it.nr) for it in commits]


async def test_a_layout_that_is_not_there() -> None:
    """Somebody has to make it first: until then it is asked for again."""
    with pytest.raises(Unavailable, match="no layout of order"):
        await LayoutReader(MemoryJournal(), "order").look()


async def test_an_empty_slice() -> None:
    """It has neither a head nor commits."""
    grown = Grown()
    first = Layout(version=1, slices=1, logs=(LogSpan(number=0, seat=0, slices=(0,)),))
    await grown.journal.change_layout("order", first)
    assert first == await grown.known.look() == grown.known.layout
    assert (0, SliceHead()) == await grown.slice(0).head()
    assert [] == list(await grown.slice(0).commits(0, 10))


async def test_the_head_of_a_slice(grown: Grown) -> None:
    """The number is that of the log, and how far the slice is belongs to the slice alone."""
    assert (3, SliceHead(3, 2)) == await grown.slice(0).head()
    assert (3, SliceHead(3, 3)) == await grown.slice(1).head()


async def test_the_head_where_its_newest_log_is_empty(grown: Grown) -> None:
    """As far as the log that it comes from says; then as far as its own says, whatever the other one's."""
    await grown.split()
    assert (3, SliceHead(3, 2)) == await grown.slice(0).head()
    await grown.journal.append(commit(3, 4, {1: SliceHead(9, 4)}))
    assert (3, SliceHead(3, 2)) == await grown.slice(0).head()
    await grown.journal.append(commit(2, 4, {0: SliceHead(4, 2)}))
    assert (4, SliceHead(4, 2)) == await grown.slice(0).head()


async def test_commits_are_those_of_the_logs_one_after_another(grown: Grown) -> None:
    """A read ends with the log that it began in; the next one goes on in the one behind it, where it begins."""
    await grown.split()
    for nr in (4, 5):
        await grown.journal.append(commit(2, nr, {0: SliceHead(nr, nr)}))
    slice = grown.slice(0)
    assert [("order@0", 1), ("order@0", 2)] == numbers(await slice.commits(0, 2))
    assert [("order@0", 3)] == numbers(await slice.commits(2, 10))
    assert [("order@2", 4), ("order@2", 5)] == numbers(await slice.commits(3, 10))
    assert [("order@2", 5)] == numbers(await slice.commits(4, 10))
    assert [] == list(await slice.commits(5, 10))


async def test_what_is_known_stays_until_somebody_looks(grown: Grown) -> None:
    """A reader whose layout is older reads what that one says: it waits at the end of the log that was sealed."""
    old = LayoutReader(grown.journal, "order")
    await old.look()
    await grown.split()
    await grown.journal.append(commit(2, 4, {0: SliceHead(4, 4)}))
    slice = SliceLog(grown.journal, "order", 0, old)
    assert [] == list(await slice.commits(3, 10))
    await old.look()
    assert [("order@2", 4)] == numbers(await slice.commits(3, 10))
