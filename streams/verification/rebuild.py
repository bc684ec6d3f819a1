"""Deriving an aggregate anew: its rows become what the log has, and its snapshot goes. The log is never touched.

Idempotent, and safe while an owner writes: what is derived follows from commits that never change, a row is removed
only when the log, read once more, does not have it, and without a snapshot an aggregate is loaded from its events.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from streams.journal.port import Journal, Published, StoredEvent
from streams.journal.slice_log import SliceLog


async def rebuild(
    journal: Journal, log: SliceLog, aggregate_id: str, logged: Sequence[StoredEvent], lost: Container[int]
) -> str:
    """Make the rows of an aggregate of this slice those that are `logged`, except rows of `lost` commits; a line that
    says how.

    Raises `Unavailable`, `UnreadableCommit`.
    """
    type, expected = log.type, set(logged)
    derived = await _derive_missing(journal, log, aggregate_id, logged)
    present = await journal.events(type, aggregate_id)
    others = [row for row in present if row not in expected and row.nr not in lost]
    strays = [row for row in others if not await _is_in_log(log, row)]
    await journal.remove_events(type, strays)
    # An insert leaves the columns alone for which it has no value, so a row that was changed comes back only now.
    await _derive_missing(journal, log, aggregate_id, logged)
    await journal.remove_snapshot(type, aggregate_id)
    return f"{aggregate_id}: commits derived again: {derived}, rows removed: {len(strays)}, snapshot dropped"


async def set_published_back(journal: Journal, log: str, nr: int) -> str:
    """Make commit `nr`, the end of the log, that up to which it is said to be published."""
    await journal.replace_published(log, Published(nr, -1))
    return f"set published of {log} to commit {nr}"


async def _derive_missing(journal: Journal, log: SliceLog, aggregate_id: str, logged: Sequence[StoredEvent]) -> int:
    """Derive the commits again of which rows are missing or differ; the number of them."""
    present = set(await journal.events(log.type, aggregate_id))
    numbers = sorted({row.nr for row in logged if row not in present})
    for nr in numbers:
        if commits := await log.commits(nr - 1, 1):
            await journal.derive(commits)
    return len(numbers)


async def _is_in_log(log: SliceLog, row: StoredEvent) -> bool:
    commits = await log.commits(row.nr - 1, 1)
    return any(commit.nr == row.nr and row.event in commit.events[row.index : row.index + 1] for commit in commits)
