"""What follows from the commits of one stream, behind the replies: rows by aggregate, snapshots, and the commands of a
process manager."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel
from streams.deciding.cache import PendingSnapshot, encoded
from streams.journal.port import Commit, Journal, Unavailable

log = logging.getLogger(__name__)

REPAIR_COMMITS = 100
MOST_PENDING = 64
"""Commits that may wait to be indexed, and so may have to be by the next owner."""
MOST_LEFT_OUT = 1_000
"""Aggregates of which it is said, once, that they have no snapshot."""

Issue = Callable[[Sequence[Commit]], Awaitable[None]]
"""Sends what commits cause; durable on return. It may be asked for the same ones again. Raises `Unavailable`."""


class Derivation:
    """Derives the rows of an owner's commits in order; `derived_nr` is the newest up to which all are.

    With `issue` a commit counts as derived when that has sent what it causes, too. `failed` is told what ends it before
    it is closed: no store that is down, for that is waited out.
    """

    def __init__(
        self,
        stream: str,
        type: str,
        journal: Journal,
        issue: Issue | None = None,
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self.derived_nr = 0
        self._stream = stream
        self._type = type
        self._journal = journal
        self._failed = failed
        self._issue = issue
        self._pending: deque[_Pending] = deque()
        self._changed = asyncio.Condition()
        self._left_out: set[str] = set()
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    async def repair(self, head: Commit) -> None:
        """Redo what the former owner may have left out: the commits from its derived_nr to `head`.

        Raises `Unavailable`, and what the journal raises.
        """
        self.derived_nr = head.derived_nr
        while self.derived_nr < head.nr:
            commits = await self._journal.commits(self._stream, self.derived_nr, REPAIR_COMMITS)
            if not commits:
                raise Unavailable(f"{self._stream}: commit {self.derived_nr + 1} of {head.nr} cannot be read yet")
            await self._journal.derive(commits)
            if self._issue is not None:
                await self._issue(commits)
            self.derived_nr = commits[-1].nr

    def start(self) -> None:
        """Begin, unless begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"indexer {self._stream}")

    async def put(self, commit: Commit, snapshots: Sequence[PendingSnapshot], derived: bool = False) -> None:
        """Index a commit and then keep the snapshots taken after it, unless they are `derived` already, and issue what
        it causes; waits while too many are pending. One that has failed takes no more: the next owner repairs it."""
        if derived and self._issue is None:
            self.derived_nr = commit.nr
            return
        async with self._changed:
            self._pending.append(_Pending(commit, () if derived else snapshots, derived))
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._ended or len(self._pending) < MOST_PENDING)

    async def close(self, seconds: float) -> None:
        """Finish what is pending if it takes no longer; the rest is for the next owner to repair."""
        task = self._task
        if task is None:
            return
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds), self._changed:
                    await self._changed.wait_for(lambda: self._ended or not self._pending)
        finally:
            await cancel(task)
        self._task = None

    async def _run(self) -> None:
        try:
            await self._work()
        except Exception as error:
            self._failed(error)
        finally:
            self._ended = True
            async with self._changed:
                self._changed.notify_all()

    async def _work(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._pending))
            batch = list(self._pending)
            await self._derive([pending.commit for pending in batch if not pending.derived])
            await self._cause([pending.commit for pending in batch])
            self.derived_nr = batch[-1].commit.nr
            await self._keep([snapshot for pending in batch for snapshot in pending.snapshots])
            async with self._changed:
                for _ in batch:
                    self._pending.popleft()
                self._changed.notify_all()

    async def _derive(self, commits: Sequence[Commit]) -> None:
        if commits:
            what = f"{self._stream}: writing derived rows"
            await until_it_answers(lambda: self._journal.derive(commits), what, Unavailable)

    async def _cause(self, commits: Sequence[Commit]) -> None:
        issue = self._issue
        if issue is not None:
            what = f"{self._stream}: sending what commit {commits[0].nr} and the following cause"
            await until_it_answers(lambda: issue(commits), what, Unavailable)

    async def _keep(self, taken: Sequence[PendingSnapshot]) -> None:
        """Save snapshots. One that the store refuses, for its size say, is left out: loading without it is slower, and
        right."""
        if not taken:
            return
        try:
            await self._save(taken)
        except Exception as error:
            if len(taken) == 1:
                self._leave_out(taken[0], error)
            else:
                for one in taken:
                    await self._keep([one])

    async def _save(self, taken: Sequence[PendingSnapshot]) -> None:
        snapshots = encoded(taken)
        what = f"{self._stream}: writing snapshots"
        if snapshots:
            await until_it_answers(lambda: self._journal.save_snapshots(self._type, snapshots), what, Unavailable)

    def _leave_out(self, pending: PendingSnapshot, error: Exception) -> None:
        if pending.aggregate_id not in self._left_out and len(self._left_out) < MOST_LEFT_OUT:
            self._left_out.add(pending.aggregate_id)
            log.error(
                "%s: no snapshot of %r: it is loaded from all its events until there is one: %s: %.300s",
                self._stream,
                pending.aggregate_id,
                type(error).__name__,
                error,
            )


class _Pending(NamedTuple):
    commit: Commit
    snapshots: Sequence[PendingSnapshot]
    derived: bool
