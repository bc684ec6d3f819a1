"""An order that the command line can be asked about."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aggregates.shop.order import LineAdded, OrderOpened
from streams.journal.memory import MemoryStore
from streams.journal.port import Commit, RecordedEvent, SliceHead
from tests.unit.streams.cli.orders_context import AT, SLICE, FakeContext


@pytest.fixture
async def context() -> FakeContext:
    """An order of two events and a command without one, in two commits."""
    context = FakeContext(MemoryStore())
    journal = context.journal()
    await journal.create()
    opened = context.events.encode(OrderOpened("17850", "sale", None, AT))
    added = context.events.encode(LineAdded("85123A", "HÖLDER", 6, Decimal("2.55")))
    commits = [
        Commit(
            "order@0", 1, 1, "o", "t", {SLICE: SliceHead(0, 1)}, 0, AT,
            (RecordedEvent("536365", 1, "OrderOpened", opened, "c1", "k1"),),
        ),
        Commit(
            "order@0", 2, 1, "o", "t", {SLICE: SliceHead(2, 2)}, 0, AT,
            (
                RecordedEvent("536365", 2, "LineAdded", added, "c2", "k2"),
                RecordedEvent("536365", 2, "", b"2", "c3", "k3"),
                RecordedEvent("536367", 0, "", b"2", "c4", "k4"),
            ),
        ),
    ]  # fmt: skip
    for commit in commits:
        await journal.append(commit)
    await journal.derive(commits)
    return context
