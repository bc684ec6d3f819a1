"""Journals into files, and out of them.

A backup has what cannot be made from anything else: commits, layouts, schemas. Rows by aggregate are derived again when
it is restored; snapshots come by themselves; how far events were published is left out, so that new topics get all.

The ends of all logs are looked at first, one after another, and what is committed later is in no file. So each log is
exact, and logs fit each other as far as nothing was committed in these moments: exactly, where no command is decided
meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from streams.backup.archive import FORMAT, BackupError, Begin, Reader, written
from streams.journal.commit_codec import UnreadableCommit
from streams.journal.identity import check_identity
from streams.journal.port import Commit, Fenced, Identity, Journal, log_name
from streams.verification.patience import ATTEMPTS, PAUSE, patiently

COMMITS_AT_ONCE = 100

Progress = Callable[[int, int], None]
"""Takes how many commits are done, and how many there are."""


async def look(journal: Journal, types: Iterable[str]) -> Begin:
    """Where the logs of these types end now. Raises `Unavailable`, and `BackupError` where nobody has begun."""
    identity = await patiently(journal.identity)
    layouts = {type: await patiently(partial(journal.layout, type)) for type in types}
    begun = {type: layout for type, layout in layouts.items() if layout is not None}
    if identity is None or not begun:
        raise BackupError("the journal has no logs yet: there is nothing to back up")
    ends: dict[str, int] = {}
    for type, layout in begun.items():
        for span in layout.logs:
            if span.after is not None:
                name = log_name(type, span.number)
                head = await patiently(partial(journal.head, name, span.begins_after))
                ends[name] = span.begins_after if head is None else head.nr
    taken_at = datetime.now(UTC)
    return Begin(format=FORMAT, identity=identity, taken_at=taken_at, layouts=begun, ends=ends, schemas={})


async def back_up(journal: Journal, begin: Begin, path: Path, progress: Progress) -> tuple[int, int]:
    """Write what a journal has up to the ends that were looked at; the numbers of commits and events. It only reads.

    Raises `Unavailable`, and `BackupError` where a commit is missing or cannot be read, or the file not be written.
    """
    schemas = dict(await patiently(journal.schemas))
    total = sum(begin.ends[name] - after for name, after in _begins(begin))
    with written(path, replace(begin, schemas=schemas)) as file:
        for name, at in _begins(begin):
            while at < begin.ends[name]:
                for commit in await _next(journal, name, at, begin.ends[name]):
                    file.add(commit)
                    at = commit.nr
                progress(file.commits, total)
        return file.commits, file.events


def _begins(begin: Begin) -> list[tuple[str, int]]:
    """Each log with the number behind which it begins."""
    spans = ((type, span) for type, layout in begin.layouts.items() for span in layout.logs if span.after is not None)
    return [(log_name(type, span.number), span.begins_after) for type, span in spans]


async def _next(journal: Journal, name: str, after: int, end: int) -> Sequence[Commit]:
    """The next commits up to the end of a log, at least one."""
    try:
        for _ in range(ATTEMPTS):  # a replica that answers may be a moment behind
            found = await patiently(partial(journal.commits, name, after, min(COMMITS_AT_ONCE, end - after)))
            if found:
                return found
            await asyncio.sleep(PAUSE)
    except UnreadableCommit as error:
        raise BackupError(f"{name}: a commit behind {after} cannot be read: {error}") from None
    raise BackupError(f"{name}: commit {after + 1} is missing: see `journal verify`")


async def restore(journal: Journal, reader: Reader, ours: Identity, progress: Progress) -> tuple[int, int]:
    """Put a backup into a journal that is there and has no logs; the numbers of commits and events. Broken off, it may
    be done again, and goes on. No worker may start with the journal before it has ended.

    Raises `Unavailable`, `BackupError`, `SettingsError`.
    """
    begin = reader.begin
    if (begin.identity.context, begin.identity.partitions) != (ours.context, ours.partitions):
        theirs, here = begin.identity, ours
        raise BackupError(
            f"{reader.path} is of {theirs.context} with PARTITIONS={theirs.partitions}, and here is {here.context} with"
            f" PARTITIONS={here.partitions}"
        )
    for type in begin.layouts:
        if await patiently(partial(journal.layout, type)) is not None:
            raise BackupError(f"the journal of {ours.context} has logs of {type} already: restore into an empty one")
    check_identity(await patiently(partial(journal.claim, ours)), ours)
    await patiently(partial(journal.save_schemas, begin.schemas))
    total = sum(begin.ends[name] - after for name, after in _begins(begin))
    commits = events = 0
    rest = reader.commits()
    while some := list(islice(rest, COMMITS_AT_ONCE)):
        await _append(journal, some)
        commits += len(some)
        events += sum(event.is_event for commit in some for event in commit.events)
        progress(commits, total)
    for type, layout in begin.layouts.items():
        # Its number tells who changes it from others who do; nobody does here. Workers make another key for hints.
        first = replace(layout, version=1, hint_key="")
        if await patiently(partial(journal.change_layout, type, first)) != first:
            raise BackupError(f"somebody else has begun {type} meanwhile: stop all workers, and remove the journal")
    return commits, events


async def _append(journal: Journal, some: Sequence[Commit]) -> None:
    for commit in some:
        try:
            await patiently(partial(journal.append, commit))
        except Fenced as error:
            raise BackupError(f"the journal has other commits than the backup: {error}") from None
    if not journal.is_transactional:
        for log in {commit.log: None for commit in some}:
            await patiently(partial(journal.derive, [commit for commit in some if commit.log == log]))
