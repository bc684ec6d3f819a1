"""What of a log is not published or not applied yet: how many events, and how old the first one is.

Asked again and again while it is long, by people, programs and Prometheus, it reads each commit once: a commit may hold
hundreds of events, and whoever serves tables must not spend its time on them.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from streams.journal.port import Log

COMMITS_AT_ONCE = 20
MOST_COMMITS = 5_000
"""That are looked at for events not yet published; where there are more, so many at least."""
MOST_TIMES = 100
"""Places of tables whose next event is remembered."""


class Backlog:
    """Of one stream. All of it may raise `Unavailable`."""

    def __init__(self, journal: Log, stream: str) -> None:
        self._journal = journal
        self._stream = stream
        self._counts: dict[int, int] = {}
        self._times: dict[int, datetime] = {}
        self._reading = asyncio.Lock()

    async def events(self, after: int, upto: int) -> int:
        """The events of the commits behind one, up to another."""
        async with self._reading:
            for nr in [nr for nr in self._counts if nr <= after]:
                del self._counts[nr]
            last = max(self._counts, default=after)
            if self._counts and min(self._counts) > after + 1:  # whoever publishes has begun anew
                self._counts, last = {}, after
            end = min(upto, after + MOST_COMMITS)
            while last < end:
                commits = await self._journal.commits(self._stream, last, min(COMMITS_AT_ONCE, end - last))
                if not commits:
                    break
                self._counts.update((it.nr, sum(event.is_event for event in it.events)) for it in commits)
                last = commits[-1].nr
            return sum(count for nr, count in self._counts.items() if nr <= upto)

    async def age(self, after: int) -> float:
        """Seconds since the first event behind a commit was written; 0 when there is none near."""
        async with self._reading:
            if after not in self._times:
                found = await self._first_time(after)
                if found is None:
                    return 0.0
                self._times[after] = found
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
