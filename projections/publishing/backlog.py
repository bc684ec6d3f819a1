"""The events of a log that are not published or not applied yet: how many, and how old the first one is.

People, programs and Prometheus ask again and again while the backlog is long. So each commit is read once: it may hold
hundreds of events, and the worker that serves tables must not spend its time on them.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from streams.journal.port import Log

COMMITS_AT_ONCE = 20
MOST_COMMITS = 5_000
"""At most this many commits are counted; beyond that the figure is a lower bound."""
MOST_TIMES = 100
"""Commits whose next event's time is remembered."""


class Backlog:
    """The backlog of one stream. All methods may raise `Unavailable`."""

    def __init__(self, journal: Log, stream: str) -> None:
        self._journal = journal
        self._stream = stream
        self._counts: dict[int, int] = {}
        self._times: dict[int, datetime] = {}
        self._reading = asyncio.Lock()

    async def events(self, after: int, upto: int) -> int:
        """How many events the commits `after + 1` to `upto` have."""
        async with self._reading:
            for nr in [nr for nr in self._counts if nr <= after]:
                del self._counts[nr]
            last = max(self._counts, default=after)
            if self._counts and min(self._counts) > after + 1:  # the tail has begun anew
                self._counts, last = {}, after
            end = min(upto, after + MOST_COMMITS)
            while last < end:
                commits = await self._journal.commits(self._stream, last, min(COMMITS_AT_ONCE, end - last))
                if not commits:
                    break
                self._counts.update((commit.nr, sum(event.is_event for event in commit.events)) for commit in commits)
                last = commits[-1].nr
            return sum(count for nr, count in self._counts.items() if nr <= upto)

    async def age(self, after: int) -> float:
        """Seconds since the first event behind a commit was written; 0 when there is none near."""
        async with self._reading:
            if after not in self._times:
                time = await self._first_time(after)
                if time is None:
                    return 0.0
                self._times[after] = time
                while len(self._times) > MOST_TIMES:
                    del self._times[next(iter(self._times))]
        return max((datetime.now(UTC) - self._times[after]).total_seconds(), 0.0)

    async def _first_time(self, after: int) -> datetime | None:
        most = 1  # mostly the next commit has one
        while most <= COMMITS_AT_ONCE and (commits := await self._journal.commits(self._stream, after, most)):
            for commit in commits:
                if any(event.is_event for event in commit.events):
                    return commit.recorded_at
            after, most = commits[-1].nr, most * 4
        return None
