"""The aggregates that an owner holds in memory: bounded, least recently used out first."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import msgspec

from aggregates.decider import Decider
from streams.deciding.quarantine import Quarantine, follow
from streams.journal.port import RecordedEvent, Snapshot
from streams.journal.snapshots import MOST_BYTES, FirstReply, StateForm, form_of, say_once, size_of

AGGREGATE_BYTES, OUTCOME_BYTES, STATE_FACTOR = 700, 330, 3
"""What an aggregate takes of memory by itself and for each id that it remembers, and how much more than their bytes the
objects of its state take: measured with orders, whose lines are small; large texts take less."""
MEASURE_BYTES = 4 * 1024
"""A state is measured again when its events of so many bytes, and of as many as it had, are not in its measure."""
_MOST_SHARED = 1_000
FOR_EVER = math.inf

_shared: dict[tuple[str, ...], tuple[str, ...]] = {}


def _share(types: tuple[str, ...]) -> tuple[str, ...]:
    """The same tuple for equal ones: a million outcomes share a handful of event lists."""
    if len(_shared) > _MOST_SHARED:  # a domain whose commands cause a number of events that is always another one
        _shared.clear()
    return _shared.setdefault(types, types)


@dataclass(slots=True, eq=False)
class Aggregate:
    """One aggregate of an owner: its state, sequence, and the command ids it remembers.

    nr               the newest commit that holds something of it
    outcomes         of the last accepted commands by id, oldest first
    quarantine       the one it is in, or None
    unsnapped_events, unsnapped_bytes    what a load would have to read beside the snapshot
    snapshot_bytes   size of its snapshot, or of what would have been it; 0 without one
    state_bytes      what its state took when it was last measured, written or read
    unmeasured_bytes    of the events since then, as which the growth of the state is counted
    outcome_bytes    about what its outcomes take of memory
    cached           its weight as the cache has counted it
    open_until       when it is to be loaded again, on the monotonic clock, since it may hold what is personal, opened
    """

    state: Any
    sequence: int = 0
    nr: int = 0
    outcomes: dict[str, FirstReply] = field(default_factory=dict)
    quarantine: Quarantine | None = None
    unsnapped_events: int = 0
    unsnapped_bytes: int = 0
    snapshot_bytes: int = 0
    state_bytes: int = 0
    unmeasured_bytes: int = 0
    outcome_bytes: int = 0
    cached: int = 0
    open_until: float = FOR_EVER

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes, rather too many than too few."""
        waiting = self.quarantine.weight if self.quarantine is not None else 0
        state = STATE_FACTOR * (self.state_bytes + self.unmeasured_bytes)
        return AGGREGATE_BYTES + self.outcome_bytes + state + waiting

    def remember(self, rows: list[RecordedEvent], nr: int, window: int) -> FirstReply:
        """Take in what one accepted command has written, or had written before; returns what it is answered, now and
        again. The oldest ids are forgotten."""
        last = rows[-1]
        self.nr = nr
        if last.is_event:
            types = tuple([row.type for row in rows])
            outcome = FirstReply(nr, last.sequence, _share(types), last.command)
            self.sequence = last.sequence
            self.unsnapped_events += len(rows)
        else:
            # Nothing happened: the position that its reply named stands in the data.
            outcome = FirstReply(int(last.data or b"0"), last.sequence, (), last.command)
        for row in rows:
            self._grow(len(row.data) + 100)
        self.outcomes[last.command_id] = outcome
        self.outcome_bytes += _bytes_of(last.command_id, outcome)
        if len(self.outcomes) > window:
            oldest = next(iter(self.outcomes))
            self.outcome_bytes -= _bytes_of(oldest, self.outcomes.pop(oldest))
        return outcome

    def note(self, note: RecordedEvent, nr: int) -> None:
        """Take in a note on its quarantine."""
        self.nr = nr
        self.quarantine = follow(self.quarantine, note)
        self._grow(len(note.data) + 100)

    def _grow(self, bytes: int) -> None:
        self.unsnapped_bytes += bytes
        self.unmeasured_bytes += bytes

    def measure(self) -> None:
        """Count what the state takes, not the events that made it, where those are many: most states grow by less.

        Costs no more than the events did, since it is done anew only when there are as many bytes of them again.
        """
        if self.unmeasured_bytes >= max(MEASURE_BYTES, self.state_bytes):
            measured = size_of(self.state)
            self.state_bytes = self.state_bytes + self.unmeasured_bytes if measured is None else measured
            self.unmeasured_bytes = 0

    def wants_snapshot(self, every: int) -> bool:
        """Whether what stands beside the snapshot is long, and weighs as much as the snapshot: then the
        bytes written for snapshots never exceed those written for events, however large the state.

        Not in quarantine, which a snapshot does not hold.
        """
        if self.quarantine is not None:
            return False
        return self.unsnapped_events >= every and self.unsnapped_bytes >= self.snapshot_bytes

    def capture(self, aggregate_id: str, decider: Decider[Any, Any, Any]) -> PendingSnapshot:
        """Freeze what a snapshot needs; encoding follows later, off the reply path."""
        self.unsnapped_events = self.unsnapped_bytes = 0
        return PendingSnapshot(
            aggregate=self,
            aggregate_id=aggregate_id,
            sequence=self.sequence,
            nr=self.nr,
            decider=decider,
            state=self.state,
            outcomes=dict(self.outcomes),
        )

    def restore(self, snapshot: Snapshot, form: StateForm) -> None:
        """Become what the snapshot holds. Raises `msgspec.DecodeError` or `ValueError` if it cannot be read."""
        self.state, self.state_bytes, outcomes = form.decode(snapshot.state)
        # Decoding gives each outcome a copy of its own of what they share.
        self.outcomes = {
            id: FirstReply(first.nr, first.sequence, _share(first.events), first.command)
            for id, first in outcomes.items()
        }
        self.outcome_bytes = sum(_bytes_of(id, outcome) for id, outcome in self.outcomes.items())
        self.sequence = snapshot.sequence
        self.nr = snapshot.nr
        self.snapshot_bytes = len(snapshot.state)


def _bytes_of(id: str, outcome: FirstReply) -> int:
    return OUTCOME_BYTES + len(id) + 8 * len(outcome.events)


class PendingSnapshot(msgspec.Struct):
    """A snapshot that is still to be encoded; its state is immutable, so it may go on meanwhile."""

    aggregate: Aggregate
    aggregate_id: str
    sequence: int
    nr: int
    decider: Decider[Any, Any, Any]
    state: Any
    outcomes: dict[str, FirstReply]

    def encode(self) -> Snapshot | None:
        """The snapshot as the journal keeps it; None, which is said once, for a state that it cannot keep.

        Never raises: the domain and its state may be as they like, the owner goes on.
        """
        aggregate, decider = self.aggregate, self.decider
        try:
            content, aggregate.state_bytes = form_of(decider).encode(self.state, self.outcomes)
            aggregate.unmeasured_bytes = aggregate.unsnapped_bytes
        except Exception as error:
            # The next try is due when as much has come again as there is.
            size = aggregate.state_bytes + aggregate.unmeasured_bytes
            aggregate.snapshot_bytes = max(aggregate.snapshot_bytes, size)
            say_once(decider.type, self.aggregate_id, f"its state cannot be kept: {error!r:.1000}")
            return None
        aggregate.snapshot_bytes = len(content)
        if len(content) > MOST_BYTES:
            say_once(decider.type, self.aggregate_id, f"it has {len(content)} bytes, more than {MOST_BYTES}")
            return None
        return Snapshot(self.aggregate_id, self.sequence, self.nr, decider.state_version, content)


def encode_snapshots(pending: Iterable[PendingSnapshot]) -> list[Snapshot]:
    """Those of the snapshots that can be kept."""
    return [snapshot for one in pending if (snapshot := one.encode()) is not None]


class Budget:
    """The bytes of memory that the caches of a process have together. Each may have an equal part."""

    def __init__(self, bytes: int) -> None:
        self._bytes = bytes
        # One that is not closed goes with its owner, when that is collected.
        self._caches: WeakSet[Cache] = WeakSet()

    @property
    def share(self) -> int:
        """The bytes of each."""
        return self._bytes // max(1, len(self._caches))

    def join(self, cache: Cache) -> None:
        """One more: the others make room."""
        self._caches.add(cache)
        for other in list(self._caches):
            other.shrink()

    def expire(self) -> None:
        """Have all caches forget what was opened too long ago."""
        for cache in list(self._caches):
            cache.expire()

    def leave(self, cache: Cache) -> None:
        """One less."""
        self._caches.discard(cache)


class Cache:
    """Aggregates by id, up to its share of a budget, in bytes; a number is a budget of its own. One whose newest events
    are not indexed yet is kept, since it could not be loaded again."""

    def __init__(self, budget: Budget | int) -> None:
        self.weight = 0
        self._budget = Budget(budget) if isinstance(budget, int) else budget
        self._aggregates: OrderedDict[str, Aggregate] = OrderedDict()
        self._derived_nr = 0
        self._follow: Callable[[], int] = lambda: 0
        self._before: list[Cache] = []
        self._budget.join(self)

    def __len__(self) -> int:
        return len(self._aggregates)

    def __contains__(self, aggregate_id: str) -> bool:
        return aggregate_id in self._aggregates or any(aggregate_id in other for other in self._before)

    @property
    def limit(self) -> int:
        """The bytes that it may take, as caches come and go."""
        return self._budget.share

    def follow(self, derived_nr: Callable[[], int]) -> None:
        """Ask this for the newest commit that is derived."""
        self._follow = derived_nr

    def _can_go(self, aggregate: Aggregate) -> bool:
        """Whether what it holds was opened too long ago, and it can be loaded again."""
        if aggregate.open_until == FOR_EVER or aggregate.open_until >= time.monotonic():
            return False
        return aggregate.nr <= self._derived()

    def _derived(self, at_least: int = 0) -> int:
        """The newest commit that is known to be derived."""
        self._derived_nr = max(self._derived_nr, at_least, self._follow())
        return self._derived_nr

    def expire(self) -> None:
        """Forget what was opened too long ago: a person may be forgotten since."""
        for aggregate_id in [id for id, aggregate in self._aggregates.items() if self._can_go(aggregate)]:
            self.weight -= self._aggregates.pop(aggregate_id).cached

    def go_on_from(self, others: Iterable[Cache]) -> None:
        """Have also what these others have, which nobody else changes any more, until it takes too much."""
        self._before = list(others)
        for other in self._before:
            other._before.clear()

    def close(self) -> None:
        """Keep nothing any more: its part is the others'."""
        self._budget.leave(self)
        self._follow = lambda: 0  # nothing that has this cache is to be kept by it
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._aggregates.clear()
        self._before.clear()
        self.weight = 0

    def take(self, aggregate_id: str) -> Aggregate | None:
        """Take an aggregate out, for as long as a group works on it; none that was opened too long ago."""
        aggregate = self._aggregates.pop(aggregate_id, None)
        if aggregate is not None:
            self.weight -= aggregate.cached
            return None if self._can_go(aggregate) else aggregate
        return next((found for other in self._before if (found := other.take(aggregate_id)) is not None), None)

    def put(self, aggregate_id: str, aggregate: Aggregate) -> None:
        """Put it (back) in, as the most recently used."""
        aggregate.measure()
        aggregate.cached = aggregate.weight
        self._aggregates[aggregate_id] = aggregate
        self.weight += aggregate.cached

    def shrink(self, derived_nr: int | None = None) -> None:
        """Forget the least recently used until the rest fits; commits up to `derived_nr` are derived."""
        self._derived(derived_nr or 0)
        excess = self.weight - self.limit
        if excess <= 0:
            return
        self._before.clear()
        # From the oldest on: those that are not indexed yet were used lately, so few stand in the way.
        leaving = []
        for aggregate_id, aggregate in self._aggregates.items():
            if aggregate.nr <= self._derived_nr:
                leaving.append(aggregate_id)
                excess -= aggregate.cached
                if excess <= 0:
                    break
        for aggregate_id in leaving:
            self.take(aggregate_id)
