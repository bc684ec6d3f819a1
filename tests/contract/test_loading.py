"""What the handler makes of what it finds in a journal of each kind: snapshots that are missing, old or damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from aggregates.shop.order import AddLine, OpenOrder, order
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.deciding.cache import Aggregate
from streams.deciding.loading import load_aggregate
from streams.journal.port import Commit, Journal, RecordedEvent, Snapshot, log_type
from tests.contract.conftest import Journals

pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Commit]
LINES = 9
MOMENT = datetime(2011, 5, 31, tzinfo=UTC)
WINDOW = 1_000
EVENTS = Codec([s for s in Schemas.load("shop", "order") if s.name not in order.commands], order.events)


@dataclass
class History:
    """An order that was opened and given lines, a commit each, as the write side remembers it."""

    id: str
    type: str
    aggregate: Aggregate = field(default_factory=lambda: Aggregate(order.initial))
    commits: list[Commit] = field(default_factory=list)

    @property
    def decider(self) -> Any:
        """The order's, under a type that no other test uses."""
        return replace(order, type=self.type)

    def add(self, make_commit: Make, command: Any) -> None:
        """Decide a command and remember its event."""
        nr = len(self.commits) + 1
        [event] = order.decide(command, self.aggregate.state)
        self.aggregate.state = order.evolve(self.aggregate.state, event)
        row = RecordedEvent(self.id, nr, type(event).__name__, EVENTS.encode(event), f"c{nr}", f"c{nr}")
        self.aggregate.remember([row], nr, WINDOW)
        self.commits.append(make_commit(nr, row))

    def snapshot(self) -> Snapshot:
        """Of what has happened so far."""
        snapshot = self.aggregate.capture(self.id, order).encode()
        assert snapshot is not None
        return snapshot


async def loaded(journal: Journal, history: History) -> tuple[Any, int, dict[str, Any]]:
    """State, sequence and outcomes of the order as a new owner has them."""
    aggregate = await load_aggregate(journal, history.decider, EVENTS, history.id, WINDOW)
    return aggregate.state, aggregate.sequence, aggregate.outcomes


@pytest.fixture
def history(make_commit: Make, aggregate: str, log: str) -> History:
    """An order with lines; not in any journal yet."""
    history = History(aggregate, log_type(log))
    history.add(make_commit, OpenOrder("17850", "sale", opened_at=MOMENT))
    for number in range(LINES):
        history.add(make_commit, AddLine(f"sku-{number}", "HOLDER", 2, Decimal("2.55")))
    return history


@pytest.mark.parametrize("snapshot", ["missing", "removed", "newest", "of another version", "damaged", "empty"])
async def test_an_aggregate_is_loaded_whatever_its_snapshot(
    snapshot: str, journals: Journals, history: History, make_commit: Make
) -> None:
    """With a usable snapshot, the events after it; with none, or one that cannot be read, all events: the same state,
    sequence and outcomes of commands."""
    await journals.one.derive(history.commits)
    taken = history.snapshot()
    match snapshot:
        case "of another version":
            taken = Snapshot(taken.aggregate_id, taken.sequence, taken.nr, order.state_version + 1, b"\x00")
        case "damaged":
            taken = Snapshot(taken.aggregate_id, taken.sequence, taken.nr, taken.version, taken.state[:-7])
        case "empty":
            taken = Snapshot(taken.aggregate_id, taken.sequence, taken.nr, taken.version, b"")
    if snapshot != "missing":
        await journals.one.save_snapshots(history.type, [taken])
    if snapshot == "removed":
        await journals.one.remove_snapshot(history.type, history.id)
    history.add(make_commit, AddLine("later", "HOLDER", 1, Decimal(1)))
    await journals.one.derive(history.commits[-1:])
    expected = history.aggregate.state, LINES + 2, history.aggregate.outcomes
    assert expected == await loaded(journals.two, history)


async def test_a_snapshot_written_with_its_commit_is_used(journals: Journals, history: History) -> None:
    """Where an append derives by itself, and where index and snapshots follow it: a new owner loads the same."""
    *before, last = history.commits
    await journals.one.derive(before)
    snapshot = history.snapshot()
    for commit in before:
        await journals.one.append(commit)
    await journals.one.append(last, [snapshot])
    if not journals.one.is_transactional:
        await journals.one.derive([last])
        await journals.one.save_snapshots(history.type, [snapshot])
    assert snapshot == await journals.two.snapshot(history.type, history.id)
    assert (history.aggregate.state, LINES + 1, history.aggregate.outcomes) == await loaded(journals.two, history)
