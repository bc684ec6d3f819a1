"""Compares the rows and the snapshot of one aggregate with the log that they are derived from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from aggregates.decider import Decider
from schemas.codec import Codec
from schemas.sealing import with_keys
from streams.deciding.cache import Aggregate
from streams.deciding.loading import load_aggregate
from streams.journal.port import LAST_SEQUENCE, Journal, Snapshot, StoredEvent, StoredSchemas, Unavailable
from streams.journal.position import position_text, stream_name
from streams.journal.slice_log import SliceLog
from streams.journal.snapshots import form_of
from streams.verification.findings import Counts, Finding, LogHead, Repair
from streams.verification.patience import PAUSE
from streams.verification.rebuild import rebuild


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

    async def check(
        self, aggregate_id: str, log: SliceLog, logged: Sequence[StoredEvent], head: LogHead
    ) -> list[Finding]:
        """All disagreements of an aggregate of this slice with the rows that are `logged`, in their order in the logs
        that had it, of which the last one has this head. Raises `Unavailable`."""
        stream = stream_name(log.type, log.slice)
        # The snapshot is read first: the rows up to it were there when it was written, so they are read behind it.
        snapshot = await self._journal.snapshot(self._decider.type, aggregate_id)
        repair = partial(rebuild, self._journal, log, aggregate_id, logged, head.lost)
        findings, unlogged = await self._rows(aggregate_id, log, logged, head, repair)
        if any(not finding.note for finding in findings):  # rows that were just being written are there now
            await asyncio.sleep(PAUSE)
            findings, unlogged = await self._rows(aggregate_id, log, logged, head, repair)
        history = sorted([*logged, *unlogged], key=_place)
        findings += await self._snapshot(aggregate_id, snapshot, history, repair)
        self._counts.aggregates += 1
        return [*_sequence(aggregate_id, stream, logged, head), *self._repeats(stream, history), *findings]

    async def _rows(
        self, name: str, log: SliceLog, logged: Sequence[StoredEvent], head: LogHead, repair: Repair
    ) -> tuple[list[Finding], list[StoredEvent]]:
        """The disagreements of the rows, and the rows that may stay though the log as it was read lacks them."""
        findings: list[Finding] = []
        unlogged: list[StoredEvent] = []
        stream = stream_name(log.type, log.slice)
        present = {_place(row): row for row in await self._journal.events(self._decider.type, name)}
        for due in logged:
            row = present.pop(_place(due), None)
            if row != due and (row is not None or due.nr <= head.derived_nr):
                what = f"{name}: row {due.event.sequence} is {'missing' if row is None else 'not what the log has'}"
                findings.append(Finding(_where(stream, due), what, repair))
        for row in present.values():
            what = f"{name}: row {row.event.sequence}"
            if row.nr in head.lost:
                unlogged.append(row)
                what = f"{what} is all that is left of this commit, and stays"
                findings.append(Finding(_where(stream, row), what, note=True))
            elif await self._written_since(row.nr, log, head):
                unlogged.append(row)
            else:
                findings.append(Finding(_where(stream, row), f"{what} is not in the log", repair))
        return findings, unlogged

    async def _written_since(self, nr: int, log: SliceLog, head: LogHead) -> bool:
        """Whether the log has grown to this commit since the verification began."""
        if nr > max(head.nr, head.grown_to) and (newest := await log.newest()) is not None:
            head.grown_to = newest.nr
        return head.nr < nr <= head.grown_to

    def _repeats(self, stream: str, history: Sequence[StoredEvent]) -> Iterator[Finding]:
        """No command is accepted twice within the window of remembered ids; beyond it that is a note."""
        accepted: dict[str, int] = {}
        in_order = sorted(history, key=lambda row: (row.nr, row.index))
        effects = (row for row in in_order if row.event.is_event or not row.event.type)
        for number, ((_, id), rows) in enumerate(groupby(effects, key=lambda row: (row.nr, row.event.command_id))):
            if id in accepted:
                ago = number - accepted[id]
                what = f"accepts command {id} again, {ago} accepted commands after the first time"
                yield Finding(_where(stream, next(rows)), what, note=ago > self._window)
            accepted[id] = number

    async def _snapshot(
        self, aggregate_id: str, snapshot: Snapshot | None, history: Sequence[StoredEvent], repair: Repair
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
        return [Finding(where, f"the snapshot of commit {snapshot.nr} {difference}", repair)] if difference else []

    async def _differs(self, aggregate_id: str, snapshot: Snapshot, rows: Sequence[StoredEvent]) -> str:
        """How the snapshot differs from the state that these rows give; empty when it does not.

        Raises what `load_aggregate` raises.
        """
        decider = self._decider
        restored = Aggregate(decider.initial)
        try:
            # Opened as the events are: of who was forgotten neither has anything.
            form = form_of(decider, self._codec.sealer)
            await with_keys(self._codec.sealer, partial(restored.restore, snapshot, form))
        except Unavailable:
            raise
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

    def __init__(self, journal: StoredSchemas, rows: Sequence[StoredEvent]) -> None:
        self._journal = journal
        self._rows = rows

    async def snapshot(self, type: str, aggregate_id: str) -> Snapshot | None:
        return None

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        return self._rows

    async def schemas(self) -> Mapping[str, str]:
        return await self._journal.schemas()


def _sequence(aggregate_id: str, stream: str, logged: Sequence[StoredEvent], head: LogHead) -> Iterator[Finding]:
    """Sequences are dense, except where commits are lost."""
    sequence = 0
    for row in logged:
        due = sequence + row.event.is_event
        if row.event.sequence != due and not (head.lost and row.event.sequence > due):
            yield Finding(_where(stream, row), f"{aggregate_id}: has sequence {row.event.sequence} where {due} is due")
        sequence = row.event.sequence


def _place(row: StoredEvent) -> tuple[int, int, int]:
    return row.event.sequence, row.nr, row.index


def _where(stream: str, row: StoredEvent) -> str:
    return position_text(stream, row.nr, row.index)
