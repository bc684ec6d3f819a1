"""Derives from the commits of one log, behind the replies: rows by aggregate, snapshots, and the commands of a process
manager."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from streams.concurrency.retry import until_it_answers
from streams.deciding.cache import PendingSnapshot, encode_snapshots
from streams.journal.port import Commit, Journal, Unavailable

log = logging.getLogger(__name__)

REPAIR_COMMITS = 100
MOST_PENDING = 64
"""Commits that may wait to be derived; the next owner may have to derive as many."""
MOST_LEFT_OUT = 1_000
"""Aggregates whose refused snapshot is logged, once each."""

Dispatch = Callable[[Sequence[Commit]], Awaitable[None]]
"""Sends the commands that commits cause; they are durable on return. May be asked for the same ones again. Raises
`Unavailable`."""


class Derivation:
    """Derives the commits of one owner of the log `name`, in order.

    `derived_nr` is the newest commit up to which all are derived. A commit counts as derived when its rows are written
    and `dispatch` has sent the commands that it causes.
    """

    def __init__(self, name: str, type: str, journal: Journal, dispatch: Dispatch | None = None) -> None:
        self.derived_nr = 0
        self._log = name
        self._type = type
        self._journal = journal
        self._dispatch = dispatch
        self._pending: deque[tuple[Commit, Sequence[PendingSnapshot]]] = deque()
        self._changed = asyncio.Condition()
        self._without_snapshot: set[str] = set()
        self._ended = False

    async def repair(self, head: Commit) -> None:
        """Derive the commits that the former owner may not have derived: from its derived_nr to `head`.

        Raises `Unavailable`, and the errors of the journal.
        """
        self.derived_nr = head.derived_nr
        while self.derived_nr < head.nr:
            commits = await self._journal.commits(self._log, self.derived_nr, REPAIR_COMMITS)
            if not commits:
                raise Unavailable(f"{self._log}: commit {self.derived_nr + 1} of {head.nr} cannot be read yet")
            await self._journal.derive(commits)
            if self._dispatch is not None:
                await self._dispatch(commits)
            self.derived_nr = commits[-1].nr

    async def put(self, commit: Commit, snapshots: Sequence[PendingSnapshot]) -> None:
        """Have a commit derived, and the snapshots taken after it saved; waits while too many commits are pending.

        A transactional journal has derived it: only the commands that it causes are left. After a failure nothing is
        taken any more: the next owner repairs.
        """
        if self._journal.is_transactional and self._dispatch is None:
            self.derived_nr = commit.nr
            return
        async with self._changed:
            self._pending.append((commit, snapshots))
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._ended or len(self._pending) < MOST_PENDING)

    @property
    def has_pending(self) -> bool:
        """Whether commits wait to be derived."""
        return bool(self._pending)

    async def finish(self, seconds: float | None) -> None:
        """Wait until no commit is pending, at most `seconds`, None for as long as it takes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._ended or not self._pending)

    async def run(self) -> None:
        """Derive commits for ever. A journal that does not answer is waited for; raises its other errors."""
        try:
            while True:
                await self._derive_pending()
        finally:
            self._ended = True
            async with self._changed:
                self._changed.notify_all()

    async def _derive_pending(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._pending))
        batch = list(self._pending)
        commits = [commit for commit, _ in batch]
        if not self._journal.is_transactional:
            action = f"{self._log}: writing derived rows"
            await until_it_answers(lambda: self._journal.derive(commits), action, Unavailable)
        if self._dispatch is not None:
            dispatch = self._dispatch
            action = f"{self._log}: sending what commit {commits[0].nr} and the following cause"
            await until_it_answers(lambda: dispatch(commits), action, Unavailable)
        self.derived_nr = commits[-1].nr
        if not self._journal.is_transactional:
            await self._save([snapshot for _, snapshots in batch for snapshot in snapshots])
        async with self._changed:
            for _ in batch:
                self._pending.popleft()
            self._changed.notify_all()

    async def _save(self, snapshots: Sequence[PendingSnapshot]) -> None:
        """Save snapshots. One that the store refuses, for its size say, is left out: loading without it is slower, and
        right."""
        try:
            await self._save_all(snapshots)
        except Exception as error:
            if len(snapshots) == 1:
                self._log_refused(snapshots[0], error)
            else:
                for snapshot in snapshots:
                    await self._save([snapshot])

    async def _save_all(self, pending: Sequence[PendingSnapshot]) -> None:
        if snapshots := encode_snapshots(pending):
            action = f"{self._log}: writing snapshots"
            await until_it_answers(lambda: self._journal.save_snapshots(self._type, snapshots), action, Unavailable)

    def _log_refused(self, pending: PendingSnapshot, error: Exception) -> None:
        if pending.aggregate_id not in self._without_snapshot and len(self._without_snapshot) < MOST_LEFT_OUT:
            self._without_snapshot.add(pending.aggregate_id)
            log.error(
                "%s: no snapshot of %r: it is loaded from all its events until there is one: %s: %.300s",
                self._log,
                pending.aggregate_id,
                type(error).__name__,
                error,
            )
