"""A lane of events into the tables: in sequence, from its beginning to its end, and never past what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from projections.lane import Lane


class Events:
    """A partition of an events topic in which some offsets hold nothing, and a table."""

    def __init__(self, *, holes: Sequence[int] = ()) -> None:
        self.applied: list[int] = []
        self.acked: list[int] = []
        self.let_go: list[int] = []
        self.lost = 0
        self.failures = 0
        self._holes = set(holes)

    def lane(self, next_offset: int = 0) -> Lane:
        return Lane("order-0", next_offset, self._apply, self._let_go, self._gap_is_empty, self._lose)

    def event(self, offset: int) -> Any:
        return SimpleNamespace(message=SimpleNamespace(offset=offset), ack=lambda: self.acked.append(offset))

    async def _apply(self, batch: Sequence[Any]) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not now")
        self.applied += [event.message.offset for event in batch]

    def _let_go(self, event: Any) -> None:
        self.let_go.append(event.message.offset)

    async def _gap_is_empty(self, start: int, end: int) -> bool:
        return set(range(start, end)) <= self._holes

    def _lose(self) -> None:
        self.lost += 1


async def put(events: Events, lane: Lane, *offsets: int) -> None:
    """Deliver these, and wait until none is in work."""
    done = len(events.acked) + len(events.let_go) + len(offsets)
    for offset in offsets:
        await lane.put(events.event(offset))
    async with asyncio.timeout(5):
        while len(events.acked) + len(events.let_go) < done:
            await asyncio.sleep(0.001)


async def test_events_are_applied_in_sequence() -> None:
    """From the first offset on, each is applied and then acknowledged; one that comes again is let go."""
    events = Events()
    lane = events.lane(5)
    await put(events, lane, 4, 5, 6, 6, 7)
    assert ([5, 6, 7], [5, 6, 7], [4, 6]) == (events.applied, events.acked, events.let_go)
    await lane.close()


@pytest.mark.parametrize("seen", [0, 3])
async def test_what_is_missing_is_not_passed(seen: int) -> None:
    """Where an event is missing nothing more is applied or acknowledged, and the partition is read again, once."""
    events = Events()
    lane = events.lane()
    await put(events, lane, *range(seen))
    await put(events, lane, seen + 1, seen + 2)
    assert (list(range(seen)), 1) == (events.applied, events.lost)
    assert [seen + 1, seen + 2] == events.let_go
    assert events.applied == events.acked
    await lane.close()


async def test_offsets_that_hold_nothing_are_passed() -> None:
    """What Kafka itself has removed is not waited for."""
    events = Events(holes=range(10))
    lane = events.lane()
    await put(events, lane, 10, 11)
    assert ([10, 11], 0) == (events.applied, events.lost)
    await lane.close()


async def test_batch_that_fails_is_tried_again() -> None:
    """Nothing is acknowledged or left out before it is applied."""
    events = Events()
    events.failures = 2
    lane = events.lane()
    await put(events, lane, 0, 1)
    assert ([0, 1], [0, 1]) == (events.applied, events.acked)
    await lane.close()


async def test_closed_lane_lets_go() -> None:
    """What is not applied when a lane is closed, and what comes later, is let go and never acknowledged."""
    events = Events()
    events.failures = 1_000
    lane = events.lane()
    await lane.put(events.event(0))
    await lane.close()
    await lane.put(events.event(1))
    assert ([0, 1], [], []) == (events.let_go, events.acked, events.applied)
