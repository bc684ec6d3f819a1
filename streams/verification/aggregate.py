"""Compares the rows and the snapshot of one aggregate with the log that they are derived from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from aggregates.decider import Decider
from schemas.codec import Codec
from streams.deciding.cache import Aggregate
from streams.deciding.loading import load_aggregate
from streams.journal.port import LAST_SEQUENCE, Journal, Schemas, Snapshot, StoredEvent, Unavailable
from streams.journal.position import position_text
from streams.journal.snapshots import form_of
from streams.verification.expected_rows import ExpectedRow, digest_of
from streams.verification.patience import PAUSE, patiently
from streams.verification.repair import Finding, commit_at, derive_again, remove_row, remove_snapshot

Place = tuple[int, int, int]


@dataclass
class Counts:
    """How much was checked. Snapshots of another version are only counted: this program does not use them."""

    commits: int = 0
    events: int = 0
    aggregates: int = 0
    snapshots: int = 0
    older_snapshots: int = 0


@dataclass
class LogHead:
    """The head of a stream when the verification began.

    nr, derived_nr   the newest commit, and the newest up to which all rows were derived
    lost             commits up to nr that are missing or cannot be read
    """

    stream: str
    nr: int
    derived_nr: int
    lost: set[int] = field(default_factory=set)


class AggregateCheck:
    """Checks aggregates of one type, also several at once."""

    def __init__(
        self, journal: Journal, decider: Decider[Any, Any, Any], codec: Codec, dedupe_window: int, counts: Counts
    ) -> None:
        self._journal = journal
        self._decider = decider
        self._codec = codec
        self._window = dedupe_window
        self._counts = counts
        self._ends: dict[str, int] = {}

    async def check(self, aggregate_id: str, expected: Sequence[ExpectedRow], head: LogHead) -> list[Finding]:
        """All disagreements; `expected` is in the order of the log. Raises `Unavailable`."""
        type = self._decider.type
        # The snapshot is read first: the rows up to it were there when it was written, so they are read behind it.
        snapshot = await patiently(lambda: self._journal.snapshot(type, aggregate_id))
        stored = await patiently(lambda: self._journal.events(type, aggregate_id))
        wrong, right, absent = await self._rows(aggregate_id, expected, stored, head)
        if wrong:  # rows that were just being written are there now
            await asyncio.sleep(PAUSE)
            stored = await patiently(lambda: self._journal.events(type, aggregate_id))
            wrong, right, absent = await self._rows(aggregate_id, expected, stored, head)
        history = await self._with_absent(right, absent, head.stream) if wrong else stored
        self._counts.aggregates += 1
        return [
            *self._sequence(aggregate_id, expected, head),
            *self._repeats(history, head),
            *wrong,
            *await self._snapshot(aggregate_id, snapshot, history, head),
        ]

    # -- the log ---------------------------------------------------------------------------------------

    def _sequence(self, aggregate_id: str, expected: Sequence[ExpectedRow], head: LogHead) -> Iterator[Finding]:
        """Sequences are dense, except where commits are lost."""
        sequence = 0
        for row in expected:
            due = sequence + row.is_event
            if row.sequence != due and not (head.lost and row.sequence > due):
                what = f"{aggregate_id}: has sequence {row.sequence} where {due} is due"
                yield Finding(_where(head, row.nr, row.index), what)
            sequence = row.sequence

    def _repeats(self, history: Sequence[StoredEvent], head: LogHead) -> Iterator[Finding]:
        """No command is accepted twice within the window of remembered ids; beyond it that is a note."""
        accepted: dict[str, int] = {}
        in_order = sorted(history, key=lambda row: (row.nr, row.index))
        effects = (row for row in in_order if row.event.is_event or not row.event.type)
        for number, ((nr, id), rows) in enumerate(groupby(effects, key=lambda row: (row.nr, row.event.command_id))):
            if id in accepted:
                ago = number - accepted[id]
                what = f"accepts command {id} again, {ago} accepted commands after the first time"
                yield Finding(_where(head, nr, next(rows).index), what, note=ago > self._window)
            accepted[id] = number

    # -- derived rows ----------------------------------------------------------------------------------

    async def _rows(
        self, name: str, expected: Sequence[ExpectedRow], stored: Sequence[StoredEvent], head: LogHead
    ) -> tuple[list[Finding], list[StoredEvent], list[ExpectedRow]]:
        """The disagreements, the rows that may stay, and the expected rows that are missing or differ."""
        findings: list[Finding] = []
        right: list[StoredEvent] = []
        absent: list[ExpectedRow] = []
        present = {_place(row): row for row in stored}
        for due in expected:
            row = present.pop((due.sequence, due.nr, due.index), None)
            if row is not None and digest_of(row) == due.digest:
                right.append(row)
                continue
            absent.append(due)
            if row is not None or due.nr <= head.derived_nr:
                what = f"{name}: row {due.sequence} is {'missing' if row is None else 'not what the log has'}"
                repair = partial(derive_again, self._journal, head.stream, due.nr, due.index)
                findings.append(Finding(_where(head, due.nr, due.index), what, repair))
        for row in present.values():
            where, what = _where(head, row.nr, row.index), f"{name}: row {row.event.sequence}"
            if row.nr in head.lost:
                right.append(row)
                findings.append(Finding(where, f"{what} is all that is left of this commit, and stays", note=True))
            elif await self._written_since(row.nr, head):
                right.append(row)
            else:
                repair = partial(remove_row, self._journal, head.stream, row)
                findings.append(Finding(where, f"{what} is not in the log", repair))
        return findings, right, absent

    async def _written_since(self, nr: int, head: LogHead) -> bool:
        """Whether the log has grown to this commit since the verification began."""
        if nr > head.nr and nr > self._ends.get(head.stream, 0):
            now = await patiently(lambda: self._journal.head(head.stream))
            self._ends[head.stream] = now.nr if now else 0
        return head.nr < nr <= self._ends.get(head.stream, 0)

    async def _with_absent(
        self, right: Sequence[StoredEvent], absent: Sequence[ExpectedRow], stream: str
    ) -> list[StoredEvent]:
        """The rows as they should be: those that are right, and those that are absent as the log has them."""
        rows = [*right]
        for due in absent:
            commit = await patiently(partial(commit_at, self._journal, stream, due.nr))
            if commit is not None:
                rows.append(StoredEvent(commit.events[due.index], due.nr, due.index, commit.recorded_at))
        return sorted(rows, key=_place)

    # -- snapshots -------------------------------------------------------------------------------------

    async def _snapshot(
        self, aggregate_id: str, snapshot: Snapshot | None, history: Sequence[StoredEvent], head: LogHead
    ) -> list[Finding]:
        decider = self._decider
        if snapshot is None:
            return []
        if snapshot.version != decider.state_version:
            self._counts.older_snapshots += 1
            return []
        self._counts.snapshots += 1
        where = f"{decider.type} {aggregate_id}"
        try:
            difference = await self._differs(aggregate_id, snapshot, [row for row in history if row.nr <= snapshot.nr])
        except Unavailable:
            raise
        except Exception as error:  # this program lacks a schema, or the domain raises
            return [Finding(where, f"its events cannot be folded: {error!r}")]
        if not difference:
            return []
        repair = partial(remove_snapshot, self._journal, decider.type, aggregate_id)
        return [Finding(where, f"the snapshot of commit {snapshot.nr} {difference}", repair)]

    async def _differs(self, aggregate_id: str, snapshot: Snapshot, rows: Sequence[StoredEvent]) -> str:
        """How the snapshot differs from the state that these rows give; empty when it does not.

        Raises what `load_aggregate` raises.
        """
        decider = self._decider
        restored = Aggregate(decider.initial)
        try:
            restored.restore(snapshot, form_of(decider))
        except Exception as error:  # the constructor of a state may raise anything
            return f"cannot be read: {error}"
        window = max(self._window, len(restored.outcomes))
        history = _History(self._journal, rows)
        expected = await load_aggregate(history, decider, self._codec, aggregate_id, window)
        if (restored.sequence, restored.nr) != (expected.sequence, expected.nr):
            return f"has sequence {restored.sequence}, the log gives {expected.sequence} after commit {expected.nr}"
        if restored.state != expected.state:
            return "has another state than the log gives"
        # A snapshot written with a smaller window of remembered ids holds only the newest of them.
        remembered, due = list(restored.outcomes.items()), list(expected.outcomes.items())
        if remembered != due[-len(remembered) or len(due) :]:
            return "remembers other commands than the log has"
        return ""


class _History:
    """These rows of one aggregate, and no snapshot: the aggregate is loaded from them as the engine loads one."""

    def __init__(self, journal: Schemas, rows: Sequence[StoredEvent]) -> None:
        self._journal = journal
        self._rows = rows

    async def snapshot(self, type: str, aggregate_id: str) -> Snapshot | None:
        return None

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        return self._rows

    async def schemas(self) -> Mapping[str, str]:
        return await patiently(self._journal.schemas)


def _place(row: StoredEvent) -> Place:
    return row.event.sequence, row.nr, row.index


def _where(head: LogHead, nr: int, index: int) -> str:
    return position_text(head.stream, nr, index)
