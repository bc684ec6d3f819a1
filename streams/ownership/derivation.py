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
from streams.notices import say_error

log = logging.getLogger(__name__)

REPAIR_COMMITS = 100
MOST_PENDING = 64
"""Commits that may wait to be derived; the next owner may have to derive as many."""
ENOUGH_COMMITS, ENOUGH_ROWS = 32, 64
"""So many do not wait for more: the rows fill a request, or the owner might have to wait."""
LINGER_SECONDS = 0.2
"""Fewer are derived together, at most so much later, at a time that all logs of a machine have in common: a store that
is woken takes more than it does for a row."""
MOST_LEFT_OUT = 1_000
"""Aggregates whose refused snapshot is logged, once each."""

Dispatch = Callable[[Sequence[Commit]], Awaitable[None]]
"""Sends the commands that commits cause; they are durable on return. May be asked for the same ones again. Raises
`Unavailable`."""


class Derivation:
    """Derives the commits of one owner of the log `name`, in order.

    `derived_nr` is the newest commit up to which all are derived. A commit counts as derived when its rows are written
    and `dispatch` has sent the commands that it causes. Rows alone wait for company; such commands do not.
    """

    def __init__(self, name: str, type: str, journal: Journal, dispatch: Dispatch | None = None) -> None:
        self.derived_nr = 0
        self._log = name
        self._type = type
        self._journal = journal
        self._dispatch = dispatch
        self._pending: deque[tuple[Commit, Sequence[PendingSnapshot]]] = deque()
        self._rows = 0
        """Of the commits that are pending."""
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Condition()
        """Fewer commits are pending, or it has ended."""
        self._without_snapshot: set[str] = set()
        self._is_finishing = self._ended = False

    async def repair(self, head: Commit) -> None:
        """Derive the commits that the former owner may not have derived: from its derived_nr to `head`, which begins an
        epoch and has nothing to derive.

        Raises `Unavailable`, and the errors of the journal.
        """
        self.derived_nr = head.derived_nr
        while self.derived_nr < head.nr - 1:
            most = min(REPAIR_COMMITS, head.nr - 1 - self.derived_nr)
            commits = await self._journal.commits(self._log, self.derived_nr, most)
            if not commits:
                raise Unavailable(f"{self._log}: commit {self.derived_nr + 1} of {head.nr} cannot be read yet")
            await self._journal.derive(commits)
            if self._dispatch is not None:
                await self._dispatch(commits)
            self.derived_nr = commits[-1].nr
        self.derived_nr = head.nr

    async def put(self, commit: Commit, snapshots: Sequence[PendingSnapshot]) -> None:
        """Have a commit derived, and the snapshots taken after it saved; waits while too many commits are pending.

        A transactional journal has derived it: only the commands that it causes are left. After a failure nothing is
        taken any more: the next owner repairs.
        """
        if self._journal.is_transactional and self._dispatch is None:
            self.derived_nr = commit.nr
            return
        self._pending.append((commit, snapshots))
        self._rows += len(commit.events)
        self._schedule()
        if len(self._pending) >= MOST_PENDING:
            async with self._changed:
                await self._changed.wait_for(lambda: self._ended or len(self._pending) < MOST_PENDING)

    def _schedule(self) -> None:
        """Have what is pending derived, now or when it has had its time for company."""
        is_enough = len(self._pending) >= ENOUGH_COMMITS or self._rows >= ENOUGH_ROWS
        if is_enough or self._is_finishing or self._dispatch is not None:
            self._due.set()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LINGER_SECONDS - loop.time() % LINGER_SECONDS, self._due.set)

    @property
    def has_pending(self) -> bool:
        """Whether commits wait to be derived."""
        return bool(self._pending)

    async def finish(self, seconds: float | None) -> None:
        """Derive without waiting for company from now on, and wait until no commit is pending, at most `seconds`, None
        for as long as it takes."""
        self._is_finishing = True
        if self._pending:
            self._due.set()
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
            self._stop_timer()
            async with self._changed:
                self._changed.notify_all()

    async def _derive_pending(self) -> None:
        await self._due.wait()
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
        for _ in batch:
            self._pending.popleft()
        self._rows -= sum(len(commit.events) for commit in commits)
        self._stop_timer()
        self._due.clear()
        if self._pending:  # they came meanwhile
            self._schedule()
        async with self._changed:
            self._changed.notify_all()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

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
            say_error(
                log,
                "no-snapshot",
                f"{self._type} {pending.aggregate_id}",
                "%s: no snapshot of %r: it is loaded from all its events until there is one: %s: %.300s",
                self._log,
                pending.aggregate_id,
                type(error).__name__,
                error,
            )
