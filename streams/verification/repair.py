"""What `journal verify --repair` does: derived rows are made again from the log, and the log is never touched.

Every repair is idempotent, and right while an owner is writing: what it writes follows from commits that never change,
and what it removes it has looked for in the log once more.
"""

from __future__ import annotations

import msgspec

from streams.journal.port import Commit, Journal, Published, StoredEvent, stream_type
from streams.journal.position import position_text


class Reindex(msgspec.Struct, frozen=True):
    """Derive again what commit `nr` holds; its event at `index` was missing or other."""

    stream: str
    nr: int
    index: int


class RemoveRow(msgspec.Struct, frozen=True):
    """Remove a derived row that the log of `stream` does not have."""

    stream: str
    row: StoredEvent


class RemoveSnapshot(msgspec.Struct, frozen=True):
    """Remove a snapshot that the log contradicts: the aggregate is loaded from its events until there is a new one."""

    type: str
    aggregate_id: str


class SetPublished(msgspec.Struct, frozen=True):
    """Set back how far a stream is said to be published, to the end of its log."""

    stream: str
    published: Published


Repair = Reindex | RemoveRow | RemoveSnapshot | SetPublished


class Finding(msgspec.Struct, frozen=True):
    """One finding. `where`: `<stream>:<commit>[:<index>]`, or `<type> <aggregate id>`, or a stream.

    A `note` is worth knowing and not wrong. What is wrong and has no `repair` is the log itself.
    """

    where: str
    what: str
    repair: Repair | None = None
    note: bool = False


async def repair(journal: Journal, it: Repair) -> str:
    """Do it; one line that says what was done. Raises `Unavailable`."""
    match it:
        case Reindex(stream, nr, index):
            commit = await commit_at(journal, stream, nr)
            if commit is None:
                return f"{stream}:{nr} cannot be read any more: nothing derived"
            await _derive(journal, commit, index)
            return f"derived {len(commit.events)} rows from {stream}:{nr}"
        case RemoveRow(stream, row):
            place = position_text(stream, row.nr, row.index)
            if await _in_log(journal, stream, row):
                return f"kept row {row.event.sequence} of {row.event.aggregate_id}: {place} has it by now"
            await journal.remove_events(stream_type(stream), [row])
            return f"removed row {row.event.sequence} of {row.event.aggregate_id}, which said it was {place}"
        case RemoveSnapshot(type, aggregate_id):
            await journal.remove_snapshot(type, aggregate_id)
            return f"removed the snapshot of {type} {aggregate_id}"
        case SetPublished(stream, published):
            await journal.save_published(stream, published)
            return f"set published of {stream} to commit {published.nr}"


async def commit_at(journal: Journal, stream: str, nr: int) -> Commit | None:
    """One commit, or None when it cannot be read. Raises `Unavailable`, `UnreadableCommit`."""
    commits = await journal.commits(stream, nr - 1, 1)
    return commits[0] if commits else None


async def _derive(journal: Journal, commit: Commit, index: int) -> None:
    type, event = stream_type(commit.stream), commit.events[index]
    right = StoredEvent(event, commit.nr, index, commit.recorded_at)
    await journal.index([commit])
    for row in await journal.events(type, event.aggregate_id, event.sequence):
        if (row.event.sequence, row.nr, row.index) == (event.sequence, commit.nr, index) and row != right:
            # An insert leaves alone what it has no value for. Only now the row goes, since without it the aggregate
            # could be loaded wrong in the meantime.
            await journal.remove_events(type, [row])
            await journal.index([commit])


async def _in_log(journal: Journal, stream: str, row: StoredEvent) -> bool:
    commit = await commit_at(journal, stream, row.nr)
    return commit is not None and row.index < len(commit.events) and commit.events[row.index] == row.event
