"""The events of a log that are not published or not applied yet, by slice: how many, and how old the first one is.

People, programs and Prometheus ask again and again while the backlog is long. So each commit is read once, for all
slices: it may hold hundreds of events, and the worker that serves tables must not spend its time on them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from projections.publishing.publication import in_turns
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, Log, SliceHead, log_name
from streams.slices import slice_of

COMMITS_AT_ONCE = 20
MOST_COMMITS = 5_000
"""At most this many commits are counted; beyond that the figure is a lower bound."""
MOST_TIMES = 1_000
"""Places whose next event's time is remembered."""


class Backlog:
    """The backlog of one log. `slices` is the number of all slices of the type. All methods may raise `Unavailable`."""

    def __init__(self, journal: Log, type: str, span: LogSpan, slices: int) -> None:
        self._journal = journal
        self._log = log_name(type, span.number)
        self._after = span.begins_after
        self._slices = slices
        self._counts: dict[int, Mapping[int, int]] = {}
        """By commit the events of each slice; without a gap."""
        self._counted = self._after, self._after
        """Commits behind the first number, up to the second, are counted."""
        self._times: dict[tuple[int, int], datetime] = {}
        self._reading = asyncio.Lock()

    async def events(self, slice: int, after: int, upto: int) -> int:
        """How many events of a slice the commits `after + 1` to `upto` have."""
        if upto <= max(after, self._after):
            return 0
        async with self._reading:
            await self._count(max(after, self._after), upto)
            return sum(counts.get(slice, 0) for nr, counts in self._counts.items() if after < nr <= upto)

    async def _count(self, after: int, upto: int) -> None:
        first, last = self._counted
        if not first <= after <= last:  # the tail has begun anew, or what is asked for is far from what was
            self._counts, first, last = {}, after, after
        end = min(upto, after + MOST_COMMITS)
        while last < end:
            commits = await self._journal.commits(self._log, last, min(COMMITS_AT_ONCE, end - last))
            if not commits:
                break
            async for commit in in_turns(commits):
                ids = [event.aggregate_id for event in commit.events if event.is_event]
                self._counts[commit.nr] = Counter(slice_of(id, self._slices) for id in ids)
            last = commits[-1].nr
        while len(self._counts) > MOST_COMMITS:
            first = next(iter(self._counts))
            del self._counts[first]
        self._counted = first, last

    async def age(self, slice: int, after: int, upto: int) -> float:
        """Seconds since the first event of a slice behind commit `after` was written, where commit `upto` has one; 0
        where that cannot be read."""
        place = slice, after
        async with self._reading:
            if place not in self._times:
                commit = await self._first(slice, max(after, self._after), upto)
                if commit is None:
                    return 0.0
                self._times[place] = commit.recorded_at
                while len(self._times) > MOST_TIMES:
                    del self._times[next(iter(self._times))]
            return max((datetime.now(UTC) - self._times[place]).total_seconds(), 0.0)

    async def _first(self, slice: int, after: int, upto: int) -> Commit | None:
        """The first commit behind `after` that has an event of a slice. It may be far away, behind commits of other
        slices; each commit says which was the last one that had."""
        low, step = after, 1
        while True:  # mostly the next one
            nr = min(low + step, upto)
            if nr <= low or (commit := await self._commit(nr)) is None:
                return None
            high = _eventful(commit, slice)
            if high > after:
                break
            low, step = nr, 2 * step
        while high - low > 1:
            middle = (low + high) // 2
            if (commit := await self._commit(middle)) is None:
                return None
            if (found := _eventful(commit, slice)) > after:
                high = found
            else:
                low = middle
        return commit if commit.nr == high else await self._commit(high)

    async def _commit(self, nr: int) -> Commit | None:
        commits = await self._journal.commits(self._log, nr - 1, 1)
        return commits[0] if commits and commits[0].nr == nr else None


def _eventful(commit: Commit, slice: int) -> int:
    return commit.slices.get(slice, SliceHead()).eventful_nr
