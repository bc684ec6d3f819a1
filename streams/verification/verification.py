"""Verifies a journal: the log against its own rules (`log.py`), and what is derived against the log.

It uses the port alone, only reads, and is safe while owners write. First each log is read up to the head
that it had at the beginning, and sorted by aggregate (`log_rows.py`). Then the rows and the snapshot of each aggregate
are compared with it (`aggregate.py`). Rows must be there of commits up to the head's `derived_nr`; those of later
commits may be. Memory holds one page of commits, and the histories of `AGGREGATES_AT_ONCE` aggregates.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from aggregates.decider import Decider
from schemas.codec import Codec, Undecodable, fingerprint_of
from streams.journal.commit_codec import UnreadableCommit
from streams.journal.layout import Layout, LogSpan
from streams.journal.port import Commit, Journal, RecordedEvent, log_name
from streams.journal.position import position_text, stream_name
from streams.journal.slice_log import LayoutReader, SliceLog
from streams.slices import slice_of
from streams.verification.aggregate import AggregateCheck
from streams.verification.findings import Counts, Finding, LogHead
from streams.verification.log_rows import LogRows
from streams.verification.log_rules import broken_rules, start_of
from streams.verification.patience import ATTEMPTS, PAUSE, patiently
from streams.verification.rebuild import set_published_back

COMMITS_AT_ONCE = 100
AGGREGATES_AT_ONCE = 32

Progress = Callable[[str, int, int], None]
"""Takes the kind of work, how much of it is done, and how much there is."""


class Verification:
    """One verification of all logs of an aggregate type, or of `only` one partition and its log. Used once."""

    def __init__(
        self,
        journal: Journal,
        decider: Decider[Any, Any, Any],
        codec: Codec,
        dedupe_window: int,
        *,
        only: int | None = None,
        progress: Progress = lambda kind, done, total: None,
    ) -> None:
        self.counts = Counts()
        self._journal = journal
        self._type = decider.type
        self._only = only
        self._progress = progress
        self._layout = Layout(version=0, slices=1, logs=())
        self._known = LayoutReader(journal, decider.type)
        self._heads: dict[int, LogHead] = {}
        self._ends: dict[int, Commit] = {}
        """The last commit that was read of each log."""
        self._rows = LogRows()
        self._schemas: set[str] = set()
        self._unknown: dict[str, tuple[str, int]] = {}
        self._check = AggregateCheck(journal, decider, codec, dedupe_window, self.counts)

    async def run(self) -> AsyncIterator[Finding]:
        """All findings, one by one. Raises `Unavailable` when the journal does not answer for some seconds."""
        try:
            self._schemas = set(await patiently(self._journal.schemas))
            if await patiently(lambda: self._journal.layout(self._type)) is None:  # nobody has begun it
                return
            layout = self._layout = await patiently(self._known.look)
            begun = [span for span in layout.logs if span.after is not None]
            spans = [span for span in begun if self._only is None or self._only in span.slices]
            for span in spans:
                if (ahead := await self._begin(span)) is not None:
                    yield ahead
            for span in spans:
                async for finding in self._walk(span, self._heads[span.number]):
                    yield finding
            for fingerprint, (where, times) in self._unknown.items():
                yield Finding(where, f"needs schema {fingerprint}, which the journal lacks, as do {times} events")
            async for finding in self._compare():
                yield finding
        finally:
            self._rows.close()

    async def _begin(self, span: LogSpan) -> Finding | None:
        """Remember the head of a log; whether more is said to be published than it has."""
        log = log_name(self._type, span.number)
        published = await patiently(lambda: self._journal.published(log))  # before the head, which only moves on
        head = await patiently(lambda: self._journal.head(log, span.begins_after))
        end = head.nr if head else span.begins_after
        self._heads[span.number] = LogHead(log, span.begins_after, end, head.derived_nr if head else span.begins_after)
        if published is None or published.nr <= end:
            return None
        what = f"is said to be published up to commit {published.nr}, but the log ends at {end}"
        return Finding(log, what, partial(set_published_back, self._journal, log, end))

    # -- the log ---------------------------------------------------------------------------------------

    async def _walk(self, span: LogSpan, head: LogHead) -> AsyncIterator[Finding]:
        """Read a log up to its head, and check each commit."""
        log, at = head.log, head.after
        before = start_of(span, [self._ends[parent] for parent in span.parents if parent in self._ends])
        total = sum(head.nr - head.after for head in self._heads.values())
        while at < head.nr:
            try:
                commits = await self._commits(log, at)
            except UnreadableCommit as error:
                at += 1
                head.lost.add(at)
                yield Finding(f"{log}:{at}", f"cannot be read: {error}")
                continue
            if not commits:
                end = await self._end_of_hole(head, at + 1)
                head.lost.update(range(at + 1, end))
                which = f"commits {at + 1} to {end - 1} are" if end > at + 2 else f"commit {at + 1} is"
                what = f"{which} missing: the journal lost what it had acknowledged, and tailer and takeover stop here"
                yield Finding(f"{log}:{at + 1}", what)
                at = end - 1
                continue
            for commit in commits[: head.nr - at]:
                for what in broken_rules(before, commit, span, self._layout.slices, self._only):
                    yield Finding(f"{log}:{commit.nr}", what)
                for finding in self._add(span, commit):
                    yield finding
                before = self._ends[span.number] = commit
            at = min(commits[-1].nr, head.nr)
            self._progress("commits", self.counts.commits, total)
        if span.sealed is not None and not (before.is_seal and before.nr == span.sealed):
            yield Finding(log, f"is sealed by commit {span.sealed}, as the layout says, and ends otherwise")

    async def _commits(self, log: str, after: int) -> Sequence[Commit]:
        """The next commits, none at a hole. Raises `UnreadableCommit` only for the very next one."""
        commits: Sequence[Commit] = ()
        for _ in range(ATTEMPTS):  # a replica that answers may be a moment behind
            try:
                commits = await patiently(lambda: self._journal.commits(log, after, COMMITS_AT_ONCE))
            except UnreadableCommit:
                commits = await patiently(lambda: self._journal.commits(log, after, 1))
            if commits:
                break
            await asyncio.sleep(PAUSE)
        return commits

    async def _end_of_hole(self, head: LogHead, missing: int) -> int:
        """The first number after `missing` that has a commit; the head has one."""
        for nr in range(missing + 1, head.nr):
            try:
                if await patiently(partial(self._journal.commits, head.log, nr - 1, 1)):
                    return nr
            except UnreadableCommit:
                return nr
        return head.nr

    def _add(self, span: LogSpan, commit: Commit) -> Iterator[Finding]:
        """Add a commit to the expected rows and the counts, and look for the schemas of its events. What is found of
        rows in a log that does not have their slice."""
        self.counts.commits += 1
        rows = [(index, event, self._slice(event.aggregate_id)) for index, event in enumerate(commit.events)]
        rows = [row for row in rows if self._only in (None, row[2])]
        self._rows.add(commit, [(index, event) for index, event, _ in rows])
        for index, event, slice in rows:
            position = position_text(stream_name(self._type, slice), commit.nr, index)
            if slice not in span.slices:
                where = f"{commit.log}:{commit.nr}:{index}"
                what = f"{event.aggregate_id} belongs to partition {slice} of {self._layout.slices}"
                yield Finding(where, f"{what}, which is not in this log")
            if event.is_event:
                self.counts.events += 1
                if (fingerprint := _fingerprint(event)) not in self._schemas:
                    where, times = self._unknown.get(fingerprint, (position, 0))
                    self._unknown[fingerprint] = where, times + 1

    # -- what is derived -------------------------------------------------------------------------------

    async def _compare(self) -> AsyncIterator[Finding]:
        """Check all aggregates, some at once: those of the log first, then those that only have rows or a snapshot."""
        total = self._rows.sort()
        async for batch in _batches(self._ids()):
            for findings in await asyncio.gather(*map(self._check_one, batch)):
                for finding in findings:
                    yield finding
            self._progress("aggregates", self.counts.aggregates, total)

    async def _ids(self) -> AsyncIterator[str]:
        for aggregate_id in self._rows.ids():
            yield aggregate_id
        async for aggregate_id in self._journal.aggregate_ids(self._type):
            if self._only in (None, self._slice(aggregate_id)) and aggregate_id not in self._rows:
                yield aggregate_id

    async def _check_one(self, aggregate_id: str) -> list[Finding]:
        slice = self._slice(aggregate_id)
        heads = [self._heads[span.number] for span in self._layout.spans(slice)]
        rows = self._rows.of(aggregate_id)
        if {log for log, _ in rows} - {head.log for head in heads}:
            return []  # it was found when the log was read
        # A log that is sealed was derived to its end.
        head = replace(heads[-1], lost={nr for head in heads for nr in head.lost})
        log, logged = SliceLog(self._journal, self._type, slice, self._known), [row for _, row in rows]
        return await patiently(lambda: self._check.check(aggregate_id, log, logged, head))

    def _slice(self, aggregate_id: str) -> int:
        return slice_of(aggregate_id, self._layout.slices)


async def _batches(ids: AsyncIterator[str]) -> AsyncIterator[list[str]]:
    batch: list[str] = []
    async for id in ids:
        batch.append(id)
        if len(batch) == AGGREGATES_AT_ONCE:
            yield batch
            batch = []
    yield batch


def _fingerprint(event: RecordedEvent) -> str:
    try:
        return fingerprint_of(event.data).hex()
    except Undecodable as error:
        return f"(none: {error})"
