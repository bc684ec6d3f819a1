"""What of a log is not done yet: counted exactly by slice, and each commit read once, however often somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from projections.publishing import backlog as counting
from projections.publishing.backlog import Backlog
from streams.journal.layout import LogSpan
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit
from tests.unit.projections.publishing.test_tail_of_slices import SLICES, journal_with
from tests.unit.projections.publishing.test_tailer import journal_of


class Watched:
    """A journal that says which commits were read."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.journal = journal
        self.read: list[int] = []

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        found = await self.journal.commits(log, after, limit)
        self.read += [commit.nr for commit in found]
        return found


def _backlog(journal: MemoryJournal, slices: int) -> tuple[Backlog, Watched]:
    watched: Any = Watched(journal)
    return Backlog(watched, "order", LogSpan(number=0, seat=0, slices=tuple(range(slices))), slices), watched


async def backlog_of(*sizes: int) -> tuple[Backlog, Watched]:
    """Of a log of one slice with a commit of so many events each, below 0 one without."""
    return _backlog(await journal_of(*sizes), 1)


async def backlog_with(*commits: Sequence[int]) -> tuple[Backlog, Watched]:
    """Of a log with commits of an event of each of these slices."""
    return _backlog(await journal_with(*commits), SLICES)


async def test_events_are_counted_once() -> None:
    """Behind any commit, up to any other; what was read before is not read again, also by those who ask at once."""
    backlog, watched = await backlog_of(*([3] * 50), -1, 2)
    assert [3 * 50 + 2] * 5 == await asyncio.gather(*(backlog.events(0, 0, 52) for _ in range(5)))
    assert list(range(1, 53)) == watched.read
    assert 3 * 10 + 2 == await backlog.events(0, 40, 52)
    assert 0 == await backlog.events(0, 52, 52)
    assert 52 == len(watched.read)
    assert 3 * 10 == await backlog.events(0, 40, 50)


async def test_slices_of_a_log_share_what_is_read() -> None:
    """Each has its own events; all together read each commit once, wherever they stand."""
    backlog, watched = await backlog_with(*[[0, 1, 1]] * 30, [2], [], [0])
    found = [await backlog.events(slice, after, 33) for slice, after in ((1, 0), (0, 0), (2, 5), (0, 31), (1, 30))]
    assert ([60, 31, 1, 1, 0], list(range(1, 34))) == (found, watched.read)


async def test_only_as_far_as_asked() -> None:
    """What stands behind is read when it is asked for."""
    backlog, watched = await backlog_of(*([1] * 100))
    assert 10 == await backlog.events(0, 0, 10)
    assert list(range(1, 11)) == watched.read
    assert 100 == await backlog.events(0, 0, 100)
    assert list(range(1, 101)) == watched.read


async def test_a_publisher_that_begins_anew() -> None:
    """One that stands before what was counted is counted from there."""
    backlog, _ = await backlog_of(*([1] * 20))
    assert 5 == await backlog.events(0, 15, 20)
    assert 20 == await backlog.events(0, 0, 20)


async def test_a_long_backlog(monkeypatch: Any) -> None:
    """So much is counted, and kept, and no more: the figure is a lower bound."""
    monkeypatch.setattr(counting, "MOST_COMMITS", 30)
    backlog, watched = await backlog_of(*([1] * 100))
    assert (30, 30) == (await backlog.events(0, 0, 100), len(watched.read))
    assert (30, 30) == (await backlog.events(0, 50, 100), len(backlog._counts))
    assert 30 == await backlog.events(0, 10, 100)


async def test_age_is_that_of_the_next_event() -> None:
    """Commits without events are passed over; what was found is remembered; there is none at the end of the log."""
    backlog, watched = await backlog_of(1, -1, -1, 1)
    first = await backlog.age(0, 1, 4)
    assert 0 < first < 60
    read = len(watched.read)
    assert first <= await backlog.age(0, 1, 4)
    assert read == len(watched.read) <= 4
    assert 0.0 == await backlog.age(0, 4, 4)


async def test_the_next_event_behind_many_of_others() -> None:
    """It is found by few reads, wherever in the log it is."""
    for distance in (1, 2, 3, 50, 999):
        commits = [[0], *[[1]] * (distance - 1), [0], *[[1]] * 20, [0, 2]]
        backlog, watched = await backlog_with(*commits)
        found = await backlog._first(0, 1, len(commits))
        assert found is not None
        assert (distance + 1, True) == (found.nr, len(watched.read) <= 25), distance
        assert 0 < await backlog.age(2, 0, len(commits)) < 60
