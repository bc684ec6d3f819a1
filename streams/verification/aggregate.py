"""Holds what is derived of one aggregate, its rows and its snapshot, against what the log implies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, cast

from aggregates.decider import Decider
from schemas.codec import Codec
from streams.deciding.cache import Aggregate
from streams.deciding.handler import load_aggregate
from streams.journal.port import Journal, Snapshot, StoredEvent, Unavailable
from streams.journal.position import position_text
from streams.journal.snapshots import form_of
from streams.verification.expected_rows import ExpectedRow, digest_of
from streams.verification.patience import PAUSE, patiently
from streams.verification.repair import Finding, Reindex, RemoveRow, RemoveSnapshot, commit_at

Place = tuple[int, int, int]


@dataclass
class Counts:
    """What was looked at. Snapshots of an older version are not: this program would not use them."""

    commits: int = 0
    events: int = 0
    aggregates: int = 0
    snapshots: int = 0
    older_snapshots: int = 0


@dataclass
class LogHead:
    """A stream as it was when the verification began.

    nr, indexed_nr   of the head: commits up to these are in the log, and are derived
    lost             commits up to nr that are missing or cannot be read
    """

    stream: str
    nr: int
    indexed_nr: int
    lost: set[int] = field(default_factory=set)


class AggregateCheck:
    """Checks aggregates of one type, one by one or several at once."""

    def __init__(
        self, journal: Journal, decider: Decider[Any, Any, Any], codec: Codec, dedupe_window: int, counts: Counts
    ) -> None:
        self._journal = journal
        self._decider = decider
        self._codec = codec
        self._window = dedupe_window
        self._counts = counts
        self._ends: dict[str, int] = {}

    async def check(self, aggregate_id: str, implied: Sequence[ExpectedRow], head: LogHead) -> list[Finding]:
        """All that disagrees; `implied` is in the order of the log. Raises `Unavailable`."""
        type = self._decider.type
        # The snapshot first: the rows up to it stood there when it was written, so they do when they are read.
        snapshot = await patiently(lambda: self._journal.snapshot(type, aggregate_id))
        stored = await patiently(lambda: self._journal.events(type, aggregate_id))
        wrong = [found async for found in self._rows(aggregate_id, implied, stored, head)]
        if wrong:  # what was on its way is there now
            await asyncio.sleep(PAUSE)
            stored = await patiently(lambda: self._journal.events(type, aggregate_id))
            wrong = [found async for found in self._rows(aggregate_id, implied, stored, head)]
        history = await self._history(implied, stored, head) if wrong else stored
        self._counts.aggregates += 1
        return [
            *self._sequence(aggregate_id, implied, head),
            *self._repeats(history, head),
            *wrong,
            *await self._snapshot(aggregate_id, snapshot, history, head),
        ]

    # -- the log ---------------------------------------------------------------------------------------

    def _sequence(self, aggregate_id: str, implied: Sequence[ExpectedRow], head: LogHead) -> Iterator[Finding]:
        sequence = 0
        for it in implied:
            due = sequence + it.is_event
            if it.sequence != due and not (head.lost and it.sequence > due):
                what = f"{aggregate_id}: has sequence {it.sequence} where {due} is due"
                yield Finding(_where(head, it.nr, it.index), what)
            sequence = it.sequence

    def _repeats(self, history: Sequence[StoredEvent], head: LogHead) -> Iterator[Finding]:
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
        self, name: str, implied: Sequence[ExpectedRow], stored: Sequence[StoredEvent], head: LogHead
    ) -> AsyncIterator[Finding]:
        present = {_place(row): row for row in stored}
        for it in implied:
            row = present.pop((it.sequence, it.nr, it.index), None)
            where, repair = _where(head, it.nr, it.index), Reindex(head.stream, it.nr, it.index)
            if row is None and it.nr <= head.indexed_nr:
                yield Finding(where, f"{name}: row {it.sequence} is missing", repair)
            elif row is not None and digest_of(row) != it.digest:
                yield Finding(where, f"{name}: row {it.sequence} is not what the log has", repair)
        for row in present.values():
            where, what = _where(head, row.nr, row.index), f"{name}: row {row.event.sequence}"
            if row.nr in head.lost:
                yield Finding(where, f"{what} is all that is left of this commit, and stays", note=True)
            elif not await self._written_since(row.nr, head):
                yield Finding(where, f"{what} is not in the log", RemoveRow(head.stream, row))

    async def _written_since(self, nr: int, head: LogHead) -> bool:
        """Whether the log has grown to this commit since the verification began."""
        if nr > head.nr and nr > self._ends.get(head.stream, 0):
            now = await patiently(lambda: self._journal.head(head.stream))
            self._ends[head.stream] = now.nr if now else 0
        return head.nr < nr <= self._ends.get(head.stream, 0)

    async def _history(
        self, implied: Sequence[ExpectedRow], stored: Sequence[StoredEvent], head: LogHead
    ) -> list[StoredEvent]:
        """The rows as they should be: those of the log, and of commits that it lost or that came later."""
        present = {_place(row): row for row in stored}
        rows: list[StoredEvent] = []
        for it in implied:
            row = present.pop((it.sequence, it.nr, it.index), None)
            if row is None or digest_of(row) != it.digest:
                commit = await patiently(partial(commit_at, self._journal, head.stream, it.nr))
                row = StoredEvent(commit.events[it.index], it.nr, it.index, commit.recorded_at) if commit else None
            if row is not None:
                rows.append(row)
        for row in present.values():
            if row.nr in head.lost or await self._written_since(row.nr, head):
                rows.append(row)
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
            what = await self._differs(aggregate_id, snapshot, [row for row in history if row.nr <= snapshot.nr])
        except Unavailable:
            raise
        except Exception as error:  # a schema that this program lacks, or events over which the domain itself raises
            return [Finding(where, f"its events cannot be folded: {error!r}")]
        if not what:
            return []
        what = f"the snapshot of commit {snapshot.nr} {what}"
        return [Finding(where, what, RemoveSnapshot(decider.type, aggregate_id))]

    async def _differs(self, aggregate_id: str, snapshot: Snapshot, rows: Sequence[StoredEvent]) -> str:
        """How the snapshot differs from what these rows give; empty when it does not.

        Raises what `load_aggregate` raises.
        """
        decider = self._decider
        kept = Aggregate(decider.initial)
        try:
            kept.restore(snapshot, form_of(decider))
        except Exception as error:  # a state may raise what it likes, as it is made
            return f"cannot be read: {error}"
        window = max(self._window, len(kept.outcomes))
        journal = cast(Journal, _History(self._journal, rows))
        right = await load_aggregate(journal, decider, self._codec, aggregate_id, window)
        if (kept.sequence, kept.nr) != (right.sequence, right.nr):
            return f"has sequence {kept.sequence}, the log gives {right.sequence} after commit {right.nr}"
        if kept.state != right.state:
            return "has another state than the log gives"
        # It may have been written with a smaller window of remembered ids; then it holds the newest of them.
        if list(kept.outcomes.items()) != list(right.outcomes.items())[-len(kept.outcomes) or len(right.outcomes) :]:
            return "remembers other commands than the log has"
        return ""


class _History:
    """A journal that holds these rows of one aggregate and no snapshot: to load it as the engine would."""

    def __init__(self, journal: Journal, rows: Sequence[StoredEvent]) -> None:
        self._journal = journal
        self._rows = rows

    async def snapshot(self, type: str, aggregate_id: str) -> Snapshot | None:
        return None

    async def events(self, type: str, aggregate_id: str, from_sequence: int = 0) -> Sequence[StoredEvent]:
        return self._rows

    async def schemas(self) -> Mapping[str, str]:
        return await patiently(self._journal.schemas)


def _place(row: StoredEvent) -> Place:
    return row.event.sequence, row.nr, row.index


def _where(head: LogHead, nr: int, index: int) -> str:
    return position_text(head.stream, nr, index)
