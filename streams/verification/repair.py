"""The repairs of `journal verify --repair`: derived rows are made again from the log, which is never touched.

Every repair is idempotent, and safe while an owner writes: what it derives follows from commits that never change, and
before it removes a row it looks in the log once more. Each returns one line that says what it did, and raises
`Unavailable` when the journal does not answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streams.journal.port import Commit, Journal, Log, Published, StoredEvent, stream_type
from streams.journal.position import position_text


@dataclass(frozen=True)
class Finding:
    """One disagreement, or a `note`: something worth knowing that is not wrong.

    where   `<stream>:<commit>[:<index>]`, or `<type> <aggregate id>`, or a stream
    repair  makes it right, and returns a line that says how; None where the log itself is wrong
    """

    where: str
    what: str
    repair: Callable[[], Awaitable[str]] | None = None
    note: bool = False


async def commit_at(journal: Log, stream: str, nr: int) -> Commit | None:
    """One commit, or None when it cannot be read. Raises `Unavailable`, `UnreadableCommit`."""
    commits = await journal.commits(stream, nr - 1, 1)
    return commits[0] if commits else None


async def derive_again(journal: Journal, stream: str, nr: int, index: int) -> str:
    """Derive the rows of commit `nr`, whose event at `index` has no row or another one."""
    commit = await commit_at(journal, stream, nr)
    if commit is None:
        return f"{stream}:{nr} cannot be read any more: nothing derived"
    await journal.derive([commit])
    type, event = stream_type(stream), commit.events[index]
    expected = StoredEvent(event, nr, index, commit.recorded_at)
    for row in await journal.events(type, event.aggregate_id, event.sequence):
        if (row.event.sequence, row.nr, row.index) == (event.sequence, nr, index) and row != expected:
            # An insert leaves the columns alone for which it has no value. The row is removed only now: without it an
            # owner could load the aggregate wrong in the meantime.
            await journal.remove_events(type, [row])
            await journal.derive([commit])
    return f"derived {len(commit.events)} rows from {stream}:{nr}"


async def remove_row(journal: Journal, stream: str, row: StoredEvent) -> str:
    """Remove a derived row that the log does not have."""
    place, name = position_text(stream, row.nr, row.index), f"row {row.event.sequence} of {row.event.aggregate_id}"
    commit = await commit_at(journal, stream, row.nr)
    if commit is not None and row.event in commit.events[row.index : row.index + 1]:
        return f"kept {name}: {place} has it by now"
    await journal.remove_events(stream_type(stream), [row])
    return f"removed {name}, which said it was {place}"


async def remove_snapshot(journal: Journal, type: str, aggregate_id: str) -> str:
    """Remove a snapshot that the log contradicts: the aggregate is loaded from its events until the next snapshot."""
    await journal.remove_snapshot(type, aggregate_id)
    return f"removed the snapshot of {type} {aggregate_id}"


async def set_published(journal: Journal, stream: str, published: Published) -> str:
    """Set back how far a stream is said to be published, to the end of its log."""
    await journal.save_published(stream, published)
    return f"set published of {stream} to commit {published.nr}"
