"""What of a log is not done yet: counted exactly, and each commit read once, however often somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from projections.publishing.backlog import COMMITS_AT_ONCE, Backlog
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit
from tests.unit.projections.publishing.test_tailer import journal_of


class Watched:
    """A journal that says which commits were read."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.journal = journal
        self.read: list[int] = []

    async def commits(self, stream: str, after: int, limit: int) -> Sequence[Commit]:
        found = await self.journal.commits(stream, after, limit)
        self.read += [commit.nr for commit in found]
        return found


async def backlog_of(*sizes: int) -> tuple[Backlog, Watched]:
    """Of a log with a commit of so many events each, below 0 one without."""
    watched = Watched(await journal_of(*sizes))
    return Backlog(watched, "order-0"), watched  # type: ignore[arg-type]


async def test_events_are_counted_once() -> None:
    """Behind any commit, up to any other; what was read before is not read again, also by those who ask at once."""
    backlog, watched = await backlog_of(*([3] * 50), -1, 2)
    assert [3 * 50 + 2] * 5 == await asyncio.gather(*(backlog.events(0, 52) for _ in range(5)))
    assert list(range(1, 53)) == watched.read
    assert 3 * 10 + 2 == await backlog.events(40, 52)
    assert 0 == await backlog.events(52, 52)
    assert 52 == len(watched.read)
    assert 3 * 10 == await backlog.events(40, 50)


async def test_only_as_far_as_asked() -> None:
    """What stands behind is read when it is asked for."""
    backlog, watched = await backlog_of(*([1] * 100))
    assert 10 == await backlog.events(0, 10)
    assert list(range(1, 11)) == watched.read
    assert 100 == await backlog.events(0, 100)
    assert list(range(1, 101)) == watched.read


async def test_a_publisher_that_begins_anew() -> None:
    """One that stands before what was counted is counted from there."""
    backlog, _ = await backlog_of(*([1] * 20))
    assert 5 == await backlog.events(15, 20)
    assert 20 == await backlog.events(0, 20)


async def test_age_is_that_of_the_next_event() -> None:
    """Commits without events are passed over; what was found is remembered; there is none at the end of the log."""
    backlog, watched = await backlog_of(1, -1, -1, 1)
    first = await backlog.age(1)
    assert 0 < first < 60
    read = len(watched.read)
    assert first <= await backlog.age(1)
    assert read == len(watched.read) <= COMMITS_AT_ONCE
    assert 0.0 == await backlog.age(4)
