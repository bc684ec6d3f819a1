"""The aggregates that an owner holds in memory: bounded, least recently used out first."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.journal import RecordedEvent, Snapshot
from streams.quarantine import Quarantine, follow


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What the first reply to an accepted command said: kept so that a repeat gets it again."""

    nr: int
    sequence: int
    events: tuple[str, ...]


class _SnapshotState(msgspec.Struct):
    """The bytes of a snapshot: the state as JSON, and the outcomes by command id, oldest first."""

    state: msgspec.Raw
    outcomes: dict[str, Outcome]


_shared: dict[tuple[str, ...], tuple[str, ...]] = {}
_decode_snapshot = msgspec.json.Decoder(_SnapshotState).decode


class Aggregate:
    """One aggregate of an owner: its state, sequence, and the command ids it remembers.

    nr               the newest commit that holds something of it
    outcomes         of the last accepted commands by id, oldest first
    quarantine       the one it is in, or None
    unsnapped_events, unsnapped_bytes    what a load would have to read beside the snapshot
    snapshot_bytes   size of its snapshot, 0 without one
    """

    __slots__ = (
        "nr",
        "outcomes",
        "quarantine",
        "sequence",
        "snapshot_bytes",
        "state",
        "unsnapped_bytes",
        "unsnapped_events",
    )

    def __init__(self, state: Any) -> None:
        self.state = state
        self.sequence = 0
        self.nr = 0
        self.outcomes: dict[str, Outcome] = {}
        self.quarantine: Quarantine | None = None
        self.unsnapped_events = 0
        self.unsnapped_bytes = 0
        self.snapshot_bytes = 0

    @property
    def weight(self) -> int:
        """How much of the cache it takes."""
        return 1 + len(self.outcomes) + (self.quarantine.weight if self.quarantine is not None else 0)

    def remember(self, rows: list[RecordedEvent], nr: int, window: int) -> None:
        """Take in what one accepted command has written, or had written before. The oldest ids are forgotten."""
        last = rows[-1]
        self.nr = nr
        if last.is_event:
            types = tuple(row.type for row in rows)
            outcome = Outcome(nr, last.sequence, _shared.setdefault(types, types))
            self.sequence = last.sequence
            self.unsnapped_events += len(rows)
        else:
            # Nothing happened: the position that its reply named stands in the data.
            outcome = Outcome(int(last.data or b"0"), last.sequence, ())
        self.unsnapped_bytes += sum(len(row.data) + 100 for row in rows)
        self.outcomes[last.command_id] = outcome
        if len(self.outcomes) > window:
            del self.outcomes[next(iter(self.outcomes))]

    def note(self, note: RecordedEvent, nr: int) -> None:
        """Take in a note on its quarantine."""
        self.nr = nr
        self.quarantine = follow(self.quarantine, note)
        self.unsnapped_bytes += len(note.data) + 100

    def wants_snapshot(self, every: int) -> bool:
        """Whether what stands beside the snapshot is long, and weighs as much as the snapshot: then the
        bytes written for snapshots never exceed those written for events, however large the state.

        Not in quarantine, which a snapshot does not hold.
        """
        if self.quarantine is not None:
            return False
        return self.unsnapped_events >= every and self.unsnapped_bytes >= self.snapshot_bytes

    def capture(self, aggregate_id: str, version: int) -> PendingSnapshot:
        """Freeze what a snapshot needs; encoding follows later, off the reply path."""
        self.unsnapped_events = self.unsnapped_bytes = 0
        return PendingSnapshot(self, aggregate_id, self.sequence, self.nr, version, self.state, dict(self.outcomes))

    def restore(self, snapshot: Snapshot, state_type: type) -> None:
        """Become what the snapshot holds. Raises `msgspec.DecodeError` or `ValueError` if it cannot be read."""
        held = _decode_snapshot(snapshot.state)
        self.state = msgspec.json.decode(held.state, type=state_type)
        # A million outcomes share a handful of event lists; decoding gives each a copy of its own.
        self.outcomes = {
            id: Outcome(outcome.nr, outcome.sequence, _shared.setdefault(outcome.events, outcome.events))
            for id, outcome in held.outcomes.items()
        }
        self.sequence = snapshot.sequence
        self.nr = snapshot.nr
        self.snapshot_bytes = len(snapshot.state)


class PendingSnapshot(msgspec.Struct):
    """A snapshot that is still to be encoded; its state is immutable, so it may go on meanwhile."""

    aggregate: Aggregate
    aggregate_id: str
    sequence: int
    nr: int
    version: int
    state: Any
    outcomes: dict[str, Outcome]

    def encode(self) -> Snapshot:
        """The snapshot as the journal keeps it."""
        state = msgspec.Raw(msgspec.json.encode(self.state))
        data = msgspec.json.encode(_SnapshotState(state, self.outcomes))
        self.aggregate.snapshot_bytes = len(data)
        return Snapshot(self.aggregate_id, self.sequence, self.nr, self.version, data)


class Cache:
    """Aggregates by id, up to `limit` of weight. One whose newest events are not indexed yet is kept,
    since it could not be loaded again."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.weight = 0
        self._aggregates: dict[str, Aggregate] = {}

    def __len__(self) -> int:
        return len(self._aggregates)

    def __contains__(self, aggregate_id: str) -> bool:
        return aggregate_id in self._aggregates

    def take(self, aggregate_id: str) -> Aggregate | None:
        """Take an aggregate out, for as long as a group works on it."""
        aggregate = self._aggregates.pop(aggregate_id, None)
        if aggregate is not None:
            self.weight -= aggregate.weight
        return aggregate

    def put(self, aggregate_id: str, aggregate: Aggregate) -> None:
        """Put it (back) in, as the most recently used."""
        self._aggregates[aggregate_id] = aggregate
        self.weight += aggregate.weight

    def shrink(self, indexed_nr: int) -> None:
        """Forget the least recently used until the rest fits."""
        if self.weight <= self.limit:
            return
        for aggregate_id in list(self._aggregates):
            if self._aggregates[aggregate_id].nr <= indexed_nr:
                self.take(aggregate_id)
                if self.weight <= self.limit:
                    return
