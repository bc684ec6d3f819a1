"""What follows from the commits of one stream, behind the replies: rows by aggregate, snapshots, and the commands of a
process manager."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from streams.cache import PendingSnapshot, encoded
from streams.journal import Commit, Journal, Unavailable
from streams.retry import until_it_answers
from streams.tasks import cancel

REPAIR_COMMITS = 100
MOST_PENDING = 64
"""Commits that may wait to be indexed, and so may have to be by the next owner."""

Issue = Callable[[Sequence[Commit]], Awaitable[None]]
"""Sends what commits cause; durable on return. It may be asked for the same ones again. Raises `Unavailable`."""


class Indexer:
    """Indexes the commits of an owner in order; `indexed_nr` is the newest up to which all are.

    With `issue` a commit counts as indexed when that has sent what it causes, too.
    """

    def __init__(self, stream: str, type: str, journal: Journal, issue: Issue | None = None) -> None:
        self.indexed_nr = 0
        self._stream = stream
        self._type = type
        self._journal = journal
        self._issue = issue
        self._pending: deque[_Pending] = deque()
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def repair(self, head: Commit) -> None:
        """Redo what the former owner may have left out: the commits from its indexed_nr to `head`.

        Raises `Unavailable`.
        """
        self.indexed_nr = head.indexed_nr
        while self.indexed_nr < head.nr:
            commits = await self._journal.commits(self._stream, self.indexed_nr, REPAIR_COMMITS)
            if not commits:
                raise Unavailable(f"{self._stream}: commit {self.indexed_nr + 1} of {head.nr} cannot be read yet")
            await self._journal.index(commits)
            if self._issue is not None:
                await self._issue(commits)
            self.indexed_nr = commits[-1].nr

    def start(self) -> None:
        """Begin, unless begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name=f"indexer {self._stream}")

    async def put(self, commit: Commit, snapshots: Sequence[PendingSnapshot], derived: bool = False) -> None:
        """Index a commit and then keep the snapshots taken after it, unless they are `derived` already, and issue what
        it causes; waits while too many are pending."""
        if derived and self._issue is None:
            self.indexed_nr = commit.nr
            return
        async with self._changed:
            self._pending.append(_Pending(commit, () if derived else snapshots, derived))
            self._changed.notify_all()
            await self._changed.wait_for(lambda: len(self._pending) < MOST_PENDING)

    async def close(self, seconds: float) -> None:
        """Finish what is pending if it takes no longer; the rest is for the next owner to repair."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: not self._pending)
        await cancel(self._task)
        self._task = None

    async def _work(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._pending))
            batch = list(self._pending)
            await self._derive([pending.commit for pending in batch if not pending.derived])
            await self._cause([pending.commit for pending in batch])
            self.indexed_nr = batch[-1].commit.nr
            await self._keep([snapshot for pending in batch for snapshot in pending.snapshots])
            async with self._changed:
                for _ in batch:
                    self._pending.popleft()
                self._changed.notify_all()

    async def _derive(self, commits: Sequence[Commit]) -> None:
        if commits:
            what = f"{self._stream}: writing derived rows"
            await until_it_answers(lambda: self._journal.index(commits), what, Unavailable)

    async def _cause(self, commits: Sequence[Commit]) -> None:
        issue = self._issue
        if issue is not None:
            what = f"{self._stream}: sending what commit {commits[0].nr} and the following cause"
            await until_it_answers(lambda: issue(commits), what, Unavailable)

    async def _keep(self, taken: Sequence[PendingSnapshot]) -> None:
        if taken:
            snapshots = encoded(taken)
            what = f"{self._stream}: writing snapshots"
            await until_it_answers(lambda: self._journal.save_snapshots(self._type, snapshots), what, Unavailable)


class _Pending(NamedTuple):
    commit: Commit
    snapshots: Sequence[PendingSnapshot]
    derived: bool
