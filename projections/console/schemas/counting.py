"""How many events there are of each version: counted in the journal, commit by commit, while somebody wants to know.

Nothing counts them as they are written: that would cost every commit something, and nobody would believe a number that
began in the middle. So the logs are read from their beginning, at most a quarter of the time, and it is said how far
that is. What was counted stays in the memory of this worker, and goes on from there; it is lost with it.
"""

from __future__ import annotations

import asyncio
import time

import msgspec

from projections.console.schemas.versions import Seen
from projections.publishing.heads import Heads
from schemas.codec import Codec, Undecodable, fingerprint_of
from streams.concurrency.fairness import yield_if_due
from streams.journal.port import Commit, Journal, Unavailable, log_name
from streams.journal.slice_log import KnownLayout

COMMITS_AT_ONCE = 200
WANTED_SECONDS = 30.0
"""For so long the counting goes on after somebody has looked."""
SHARE = 0.25
"""Of the time, in which it works at most; and it stands still for so long at least between two pages."""
LEAST_PAUSE, WAIT_SECONDS = 0.05, 2.0
HEADS_SECONDS = 10.0
"""Seconds between two looks at where the logs end, which cost a store as much as an append."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How far the counting is: events and commits so far, of as many commits as the logs had when it was looked; and
    whether that is all of them. `fault` says why it does not go on."""

    events: int
    commits: int
    of_commits: int
    is_complete: bool
    fault: str = ""


class SchemaCounts:
    """Counts the events of one type by the schema that they were written with. `known` has the logs of the type."""

    def __init__(self, type: str, journal: Journal, heads: Heads, codec: Codec, known: KnownLayout) -> None:
        self.seen: dict[str, Seen] = {}
        self._type = type
        self._journal = journal
        self._heads = heads
        self._codec = codec
        self._known = known
        self._nrs: dict[str, int] = {}
        """By log the last commit that is counted."""
        self._ends: dict[str, int] = {}
        self._wanted = self._looked = float("-inf")
        self._asked = asyncio.Event()
        self._fault = ""

    def want(self) -> Counted:
        """Somebody wants to know: how far it is; from now on it goes on for a while."""
        self._wanted = time.monotonic()
        self._asked.set()
        of_commits = sum(self._ends.values())
        commits = sum(self._nrs.values())
        return Counted(
            events=sum(seen.events for seen in self.seen.values()),
            commits=commits,
            of_commits=max(of_commits, commits),
            is_complete=bool(self._ends) and commits >= of_commits,
            fault=self._fault,
        )

    async def run(self) -> None:
        """Count whenever it is wanted, for ever."""
        while True:
            await self._asked.wait()
            if time.monotonic() - self._wanted >= WANTED_SECONDS:
                self._asked.clear()
            else:
                await asyncio.sleep(LEAST_PAUSE if await self._tried() else WAIT_SECONDS)

    async def _tried(self) -> bool:
        """Count a page; whether there may be more."""
        began = time.monotonic()
        try:
            counted = await self.count_some()
            self._fault = ""
        except Unavailable as error:
            counted, self._fault = False, f"the journal does not answer: {error}"
        await asyncio.sleep((time.monotonic() - began) * (1 / SHARE - 1))
        return counted

    async def count_some(self) -> bool:
        """Count some commits of each log; whether there were any. Raises `Unavailable`."""
        if time.monotonic() - self._looked >= HEADS_SECONDS:
            self._looked = time.monotonic()
            heads = await self._heads.of([log_name(self._type, span.number) for span in self._known.layout.logs])
            self._ends = {name: 0 if head is None else head.nr for name, head in heads.items()}
        found = False
        for name, end in self._ends.items():
            after = self._nrs.setdefault(name, 0)
            if after >= end:
                continue
            commits = await self._journal.commits(name, after, COMMITS_AT_ONCE)
            for commit in commits:
                await yield_if_due()
                self._count(commit)
                self._nrs[name] = commit.nr
            found = found or bool(commits)
        return found

    def _count(self, commit: Commit) -> None:
        for event in commit.events:
            if event.is_event:
                try:
                    fingerprint = fingerprint_of(event.data).hex()
                except Undecodable:
                    fingerprint = ""
                seen = self.seen.setdefault(fingerprint, Seen())
                seen.events += 1
                if seen.reads_as is None:
                    seen.reads_as = _read_as(self._codec, event.data)


def _read_as(codec: Codec, data: bytes) -> list[str] | None:
    try:
        return [f"{schema.name}.v{schema.version}" for schema, _ in codec.decode_to_builtins(data)]
    except Undecodable:
        return None
