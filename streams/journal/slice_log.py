"""The commits of one slice, in the logs that have it one after another, for those who read behind the owners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streams.concurrency.tasks import all_of
from streams.journal.layout import Layout, LogSpan
from streams.journal.port import Commit, Log, SliceHead, Unavailable, log_name


class LogReads(Protocol):
    """The reads of a `Log`, in which those who read at the same time may share."""

    async def head(self, log: str, after: int = 0) -> Commit | None: ...

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]: ...


class KnownLayout(Protocol):
    """The layout of a type, as it was when somebody looked."""

    @property
    def layout(self) -> Layout:
        """The newest one that is known."""

    async def look(self) -> Layout:
        """Read it anew. Raises `Unavailable`."""


class LayoutReader:
    """The layout of one type, read from its journal. Whatever starts a worker has made it: see `prepare`."""

    def __init__(self, journal: Log, type: str) -> None:
        self._journal = journal
        self._type = type
        self._layout: Layout | None = None

    @property
    def layout(self) -> Layout:
        """The newest one that is known; `look` comes before."""
        assert self._layout is not None, f"nobody has looked at the layout of {self._type}"
        return self._layout

    async def look(self) -> Layout:
        """Read it anew. Raises `Unavailable`, also where there is none."""
        found = await self._journal.layout(self._type)
        if found is None:
            raise Unavailable(f"the journal has no layout of {self._type}")
        return self.note(found)

    def note(self, found: Layout) -> Layout:
        """Somebody has had this one from the journal. Returns the newest."""
        if self._layout is None or found.version > self._layout.version:  # an answer may be older than another one
            self._layout = found
        return self._layout


async def seals_before(journal: LogReads, type: str, span: LogSpan, parents: Sequence[LogSpan]) -> list[Commit]:
    """The seals of the logs that a log goes on from: they say how far its slices were. Raises `Unavailable`."""
    return await all_of(_seal(journal, log_name(type, parent.number), parent, span) for parent in parents)


async def _seal(journal: LogReads, name: str, parent: LogSpan, span: LogSpan) -> Commit:
    seal = await journal.head(name, parent.begins_after)
    if seal is None or not seal.is_seal or seal.nr > span.begins_after:
        raise Unavailable(f"{name} is not sealed yet, as far as the journal says")
    return seal


class SliceLog:
    """Reads the commits of a slice. They hold those of other slices of the log as well."""

    def __init__(self, journal: LogReads, type: str, slice: int, known: KnownLayout) -> None:
        self.type = type
        self.slice = slice
        self._journal = journal
        self._known = known

    async def newest(self) -> Commit | None:
        """The newest commit of the log that has the slice. Linearizable, as far as the layout that is known is the
        newest one, and as the reads are. Raises `Unavailable`."""
        known = self._known.layout
        for span in reversed(known.spans(self.slice)):
            commit = await self._journal.head(log_name(self.type, span.number), span.begins_after)
            is_new = commit is not None and commit.is_seal and span.is_open
            if is_new and (await self._known.look()).version != known.version:
                return await self.newest()
            if commit is not None:
                return commit
        return None

    async def head(self) -> tuple[int, SliceHead]:
        """The number of that commit, and how far the slice is with it; (0, ..) for none. Raises `Unavailable`."""
        commit = await self.newest()
        return (0, SliceHead()) if commit is None else (commit.nr, commit.slices.get(self.slice, SliceHead()))

    async def commits(self, after: int, limit: int) -> Sequence[Commit]:
        """Up to `limit` commits with a number behind `after`, of one log, none left out. None does not mean the end:
        see `Log.commits`. Raises `Unavailable`."""
        span = self._span(after)
        name, start = log_name(self.type, span.number), max(after, span.begins_after)
        commits = await self._journal.commits(name, start, limit)
        if commits and commits[-1].is_seal and span.sealed is None:
            await self._known.look()
        return commits

    def _span(self, after: int) -> LogSpan:
        """The log that has the commit behind a number."""
        spans = self._known.layout.spans(self.slice)
        return next((span for span in spans if span.sealed is None or span.sealed > after), spans[-1])
