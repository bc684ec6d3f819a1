"""What is derived from the commits of one stream: rows by aggregate and snapshots, written behind the replies."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

from streams.cache import PendingSnapshot
from streams.journal import Commit, Journal, Unavailable
from streams.retry import until_it_answers
from streams.tasks import cancel

REPAIR_COMMITS = 100
MOST_PENDING = 64
"""Commits that may wait to be indexed, and so may have to be by the next owner."""


class Indexer:
    """Indexes the commits of an owner in order; `indexed_nr` is the newest up to which all are."""

    def __init__(self, stream: str, type: str, journal: Journal) -> None:
        self.indexed_nr = 0
        self._stream = stream
        self._type = type
        self._journal = journal
        self._pending: deque[tuple[Commit, Sequence[PendingSnapshot]]] = deque()
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
            self.indexed_nr = commits[-1].nr

    def start(self) -> None:
        """Begin, unless begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name=f"indexer {self._stream}")

    async def put(self, commit: Commit, snapshots: Sequence[PendingSnapshot]) -> None:
        """Index a commit and then keep the snapshots taken after it; waits while too many are pending."""
        async with self._changed:
            self._pending.append((commit, snapshots))
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
            commits = [commit for commit, _ in batch]
            await until_it_answers(
                lambda commits=commits: self._journal.index(commits),  # type: ignore[misc]
                f"{self._stream}: writing derived rows",
                Unavailable,
            )
            self.indexed_nr = commits[-1].nr
            snapshots = [pending.encode() for _, taken in batch for pending in taken]
            if snapshots:
                await until_it_answers(
                    lambda snapshots=snapshots: self._journal.save_snapshots(self._type, snapshots),  # type: ignore[misc]
                    f"{self._stream}: writing snapshots",
                    Unavailable,
                )
            async with self._changed:
                for _ in batch:
                    self._pending.popleft()
                self._changed.notify_all()
