"""Holds a journal against itself: the log against its own rules, and what is derived against the log.

Pure over the port, and safe while owners write. First the log of each stream is walked to the head that it had at the
beginning, and sorted by aggregate (`verify_ledger.py`); then each aggregate's rows and snapshot are held against that
(`verify_aggregate.py`). What must be derived is what the head said was (`indexed_nr`); what was written since is left
alone. Memory holds one window of commits, and the histories of `AGGREGATES_AT_ONCE` aggregates.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from aggregates.decider import Decider
from schemas.codec import Codec, Undecodable, fingerprint_of
from streams.journal.commit_codec import UnreadableCommit
from streams.journal.port import Commit, Journal, Published, RecordedEvent, stream_name
from streams.journal.position import position_text
from streams.kafka.client import partition_of
from streams.verification.aggregate import AggregateCheck, Counts, LogHead
from streams.verification.expected_rows import ExpectedRows
from streams.verification.log import LogCheck
from streams.verification.patience import ATTEMPTS, PAUSE, patiently
from streams.verification.repair import Finding, SetPublished

COMMITS_AT_ONCE = 100
AGGREGATES_AT_ONCE = 32

Progress = Callable[[str, int, int], None]
"""Told the kind of work, how much of it is done, and how much there is."""


class Verification:
    """One verification of all streams of an aggregate type, or of `only` one partition. Used once."""

    def __init__(
        self,
        journal: Journal,
        decider: Decider[Any, Any, Any],
        codec: Codec,
        partitions: int,
        dedupe_window: int,
        only: int | None = None,
        progress: Progress = lambda kind, done, total: None,
    ) -> None:
        self.counts = Counts()
        self._journal = journal
        self._type = decider.type
        self._partitions = partitions
        self._only = only
        self._progress = progress
        self._heads: dict[int, LogHead] = {}
        self._ledger = ExpectedRows()
        self._schemas: set[str] = set()
        self._unknown: dict[str, tuple[str, int]] = {}
        self._aggregates = AggregateCheck(journal, decider, codec, dedupe_window, self.counts)

    async def run(self) -> AsyncIterator[Finding]:
        """Everything that disagrees, as it is found. Raises `Unavailable` when the journal does not answer for long."""
        try:
            self._schemas = set(await patiently(self._journal.schemas))
            for partition in range(self._partitions) if self._only is None else [self._only]:
                async for found in self._begin(partition):
                    yield found
            for partition, head in self._heads.items():
                async for found in self._walk(partition, head):
                    yield found
            for fingerprint, (where, times) in self._unknown.items():
                yield Finding(where, f"needs schema {fingerprint}, which the journal lacks, as do {times} events")
            async for found in self._compare():
                yield found
        finally:
            self._ledger.close()

    async def _begin(self, partition: int) -> AsyncIterator[Finding]:
        stream = stream_name(self._type, partition)
        published = await patiently(lambda: self._journal.published(stream))  # before the head, which only moves on
        head = await patiently(lambda: self._journal.head(stream))
        self._heads[partition] = LogHead(stream, head.nr if head else 0, head.indexed_nr if head else 0)
        if published is not None and published.nr > (end := head.nr if head else 0):
            what = f"is said to be published up to commit {published.nr}, but the log ends at {end}"
            yield Finding(stream, what, SetPublished(stream, Published(end, -1)))

    # -- the log ---------------------------------------------------------------------------------------

    async def _walk(self, partition: int, head: LogHead) -> AsyncIterator[Finding]:
        stream, check, at = head.stream, LogCheck(head.stream), 0
        total = sum(head.nr for head in self._heads.values())
        while at < head.nr:
            try:
                commits = await self._commits(stream, at)
            except UnreadableCommit as error:
                at += 1
                head.lost.add(at)
                yield Finding(f"{stream}:{at}", f"cannot be read: {error}")
                continue
            if not commits:
                end = await self._end_of_hole(head, at + 1)
                head.lost.update(range(at + 1, end))
                which = f"commits {at + 1} to {end - 1} are" if end > at + 2 else f"commit {at + 1} is"
                what = f"{which} missing: the journal lost what it had acknowledged, and tailer and takeover stop here"
                yield Finding(f"{stream}:{at + 1}", what)
                at = end - 1
                continue
            for commit in commits[: head.nr - at]:
                for what in check.check(commit):
                    yield Finding(f"{stream}:{commit.nr}", what)
                self._take_in(partition, commit)
            at = min(commits[-1].nr, head.nr)
            self._progress("commits", self.counts.commits, total)

    async def _commits(self, stream: str, after: int) -> Sequence[Commit]:
        """The next commits, none at a hole. Raises `UnreadableCommit` only for the very next one."""
        commits: Sequence[Commit] = ()
        for _ in range(ATTEMPTS):  # a replica that answers may be a moment behind
            try:
                commits = await patiently(lambda: self._journal.commits(stream, after, COMMITS_AT_ONCE))
            except UnreadableCommit:
                commits = await patiently(lambda: self._journal.commits(stream, after, 1))
            if commits:
                break
            await asyncio.sleep(PAUSE)
        return commits

    async def _end_of_hole(self, head: LogHead, missing: int) -> int:
        """The first number after `missing` that has a commit; the head has one."""
        for nr in range(missing + 1, head.nr):
            try:
                if await patiently(partial(self._journal.commits, head.stream, nr - 1, 1)):
                    return nr
            except UnreadableCommit:
                return nr
        return head.nr

    def _take_in(self, partition: int, commit: Commit) -> None:
        self.counts.commits += 1
        self._ledger.add(partition, commit)
        for index, event in enumerate(commit.events):
            if event.is_event:
                self.counts.events += 1
                if (fingerprint := _fingerprint(event)) not in self._schemas:
                    where, times = self._unknown.get(fingerprint, (position_text(commit.stream, commit.nr, index), 0))
                    self._unknown[fingerprint] = where, times + 1

    # -- what is derived -------------------------------------------------------------------------------

    async def _compare(self) -> AsyncIterator[Finding]:
        total = self._ledger.sort()
        for batch in _batches(self._ledger.ids()):
            async for found in self._check(batch):
                yield found
            self._progress("aggregates", self.counts.aggregates, total)
        unheard: list[str] = []
        async for aggregate_id in self._journal.aggregate_ids(self._type):
            if self._home(aggregate_id) in self._heads and aggregate_id not in self._ledger:
                unheard.append(aggregate_id)
                if len(unheard) == AGGREGATES_AT_ONCE:
                    async for found in self._check(unheard):
                        yield found
                    unheard.clear()
        async for found in self._check(unheard):
            yield found

    async def _check(self, ids: Iterable[str]) -> AsyncIterator[Finding]:
        for found in await asyncio.gather(*map(self._check_one, ids)):
            for disagreement in found:
                yield disagreement

    async def _check_one(self, aggregate_id: str) -> list[Finding]:
        implied, home = self._ledger.rows(aggregate_id), self._home(aggregate_id)
        if strays := [it for it in implied if it.partition != home]:
            where = position_text(stream_name(self._type, strays[0].partition), strays[0].nr, strays[0].index)
            what = f"{aggregate_id} belongs to partition {home} of {self._partitions}"
            return [Finding(where, what)]
        return await self._aggregates.check(aggregate_id, implied, self._heads[home])

    def _home(self, aggregate_id: str) -> int:
        return partition_of(aggregate_id.encode(), self._partitions)


def _batches(ids: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(ids, AGGREGATES_AT_ONCE)):
        yield batch


def _fingerprint(event: RecordedEvent) -> str:
    try:
        return fingerprint_of(event.data).hex()
    except Undecodable as error:
        return f"(none: {error})"
