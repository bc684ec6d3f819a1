"""The table of pending timers, on a real disk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aggregates.timer import TimerCancelled, TimerFired, TimerScheduled
from projections.stores.local.queries import in_order
from projections.stores.local.store import rocksdb_table
from projections.stores.local.tables import LocalRows
from projections.stores.rows import Changes, Checkpoint, StoredRow
from projections.timers.projection import DUE, kept, timers
from streams.kafka.topic_limits import USUAL_LARGEST
from streams.moments import in_utc
from streams.runtime.application import Application
from streams.settings import Settings
from tests.folded import published
from tests.specification import given

TABLE = "timers-1"
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Kafka:
    """Takes the changelog."""

    async def largest(self, topic: str) -> int:
        return USUAL_LARGEST

    async def require_room(self, topic: str, records: Sequence[Any]) -> None:
        pass

    async def publish(self, topic: str, partition: int, records: Sequence[Any], refuse: bool = False) -> int:
        return len(records) - 1


async def put(table: LocalRows, nr: int, **dues: datetime | None) -> None:
    """Timers of partition 0 are scheduled, or over (None), in one commit."""
    rows = {
        key: StoredRow(f"timer-0:{nr}:{index}", row=None if due is None else {"id": key, "due": in_utc(due)})
        for index, (key, due) in enumerate(dues.items())
    }
    before = await table.load(0, TABLE, rows)
    await table.save(0, {TABLE: Changes(Checkpoint(nr, len(rows) - 1, nr), rows, before=before)})


def test_rows() -> None:
    """A row for each timer that is pending, as it was scheduled last."""
    scheduled = TimerScheduled(NOON, "order", "1", "CancelOrder", '{"reason":"late"}', None)
    moved = TimerScheduled(NOON + SECOND, "user", "2", "DeactivateUser", "{}", "mine")
    row = {"id": "a", "due": "2026-11-26T12:00:01.000Z", "to": "user", "to_id": "2", "command": "DeactivateUser"}
    row |= {"data": {}, "command_id": "mine", "correlation_id": ""}  # type: ignore[dict-item]
    first = [published(scheduled, "a", 1), published(moved, "a", 2)]
    given(timers, *first).then_rows({"a": row})
    given(timers, *first, published(TimerCancelled(), "a", 3)).then_rows({})
    fired = TimerFired(NOON, "order", "1", "CancelOrder", '{"reason":"late"}', None)
    given(timers, published(scheduled, "a", 1), published(fired, "a", 2)).then_rows({})
    with pytest.raises(TypeError, match="no rule for str"):
        timers.evolve(None, "a", published("?"))


async def test_in_the_order_of_their_times(tmp_path: Path) -> None:
    """By due time, then by id, each once and where it is due now, from behind any of them."""
    app = Application("test", "projections", Settings(partitions=2), datadir=str(tmp_path))
    indexes: Any = {timers.name: kept.how}
    table = LocalRows(rocksdb_table(app, "timer-rows", indexes), Kafka())  # type: ignore[arg-type]
    await put(table, 1, b=NOON + SECOND, a=NOON + SECOND, c=NOON, d=NOON - timedelta(days=9_000), é=NOON)
    await put(table, 2, c=NOON + 2 * SECOND, d=None)
    order = [(in_utc(NOON + after * SECOND), key) for after, key in ((0, "é"), (1, "a"), (1, "b"), (2, "c"))]
    assert order == list(in_order(table.store, 0, TABLE, DUE))
    for number, at in enumerate(order, 1):
        assert order[number:] == list(in_order(table.store, 0, TABLE, DUE, at))
    assert order[1:] == list(in_order(table.store, 0, TABLE, DUE, (in_utc(NOON + SECOND), "")))
    assert order == list(in_order(table.store, 0, TABLE, DUE, ("2026", "")))
    assert [] == list(in_order(table.store, 1, TABLE, DUE))
