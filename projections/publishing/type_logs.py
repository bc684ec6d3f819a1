"""The logs of an aggregate type, as those who read slices of it in one worker share them.

The slices of a log lie in the same commits. Where the topics lack the events of many of them, as for a table that is
built anew behind a retention, each slice has to read all of these commits. So the pages that were read last are kept
for a moment: builds that go on together read the log once. `CATCH_UPS_AT_ONCE` of them do, so the log of n slices is
read at most n times, and mostly n / `CATCH_UPS_AT_ONCE` times.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from projections.publishing.heads import Heads
from streams.journal.port import Commit, Log
from streams.journal.slice_log import KnownLayout, SliceLog

KEPT_BYTES = 16 * 1024 * 1024
KEPT_SECONDS = 5.0
_OBJECT_BYTES = 300
"""Of a commit or an event in memory, beside its data."""


class TypeLogs:
    """The logs of one type."""

    def __init__(self, journal: Log, type: str, known: KnownLayout, heads: Heads) -> None:
        self._pages = _Pages(journal)
        self._type = type
        self._known = known
        self._heads = heads

    @property
    def slices(self) -> int:
        """How many there are."""
        return self._known.layout.slices

    def of(self, slice: int, since: float | None = None) -> SliceLog:
        """The commits of a slice. Its head is as it was at a time of the loop's clock, or later, or now for None."""
        return SliceLog(_Reads(self._pages, self._heads, since), self._type, slice, self._known)


class _Reads(NamedTuple):
    pages: _Pages
    heads: Heads
    since: float | None

    async def head(self, log: str, after: int = 0) -> Commit | None:
        return (await self.heads.of([log], self.since))[log]

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        return await self.pages.commits(log, after, limit)


class _Page(NamedTuple):
    log: str
    commits: Sequence[Commit]
    size: int


class _Pages:
    """The pages of commits that were read last, the newest at the end. What stands in a log never changes."""

    def __init__(self, journal: Log) -> None:
        self._journal = journal
        self._kept: deque[_Page] = deque()
        self._size = 0
        self._reading: dict[tuple[str, int], asyncio.Task[Sequence[Commit]]] = {}
        self._forgetting: asyncio.TimerHandle | None = None

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        """As `Log.commits`."""
        for page in reversed(self._kept):
            if page.log == log and page.commits[0].nr <= after + 1 <= page.commits[-1].nr:
                first = after + 1 - page.commits[0].nr
                self._keep_on()
                return page.commits[first : first + limit]
        task = self._reading.get((log, after))
        if task is None:
            task = self._reading[log, after] = asyncio.create_task(self._read(log, after, limit))
            task.add_done_callback(_retrieved)
        return (await asyncio.shield(task))[:limit]

    async def _read(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        try:
            commits = await self._journal.commits(log, after, limit)
        finally:
            del self._reading[log, after]
        if commits:
            page = _Page(log, commits, sum(map(_size, commits)))
            self._kept.append(page)
            self._size += page.size
            while self._size > KEPT_BYTES:
                self._size -= self._kept.popleft().size
            self._keep_on()
        return commits

    def _keep_on(self) -> None:
        """Somebody reads: the pages are kept for a while."""
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._forget)

    def _forget(self) -> None:
        self._kept.clear()
        self._size = 0


def _size(commit: Commit) -> int:
    return _OBJECT_BYTES + sum(_OBJECT_BYTES + len(event.data) for event in commit.events)


def _retrieved(task: asyncio.Task[Sequence[Commit]]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waited for it has been told
