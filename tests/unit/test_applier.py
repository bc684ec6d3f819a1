"""The applier: how far it says that it is, and in which order it keeps what it has done."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from aggregates.shop.order import OrderConfirmed, order
from projections.applier import Applier
from projections.projection import Projection, PublishedEvent, Row
from projections.tailer import COMMIT_END
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.journal_memory import MemoryJournal

CODEC = Codec([s for s in Schemas.load("shop", "order") if s.name not in order.commands], order.events)
DATA = CODEC.encode(OrderConfirmed())


class Rows:
    """A table whose changelog fails when it is told to."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes | None] = {}
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.down = False

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self.rows.get(key)

    async def publish(self, broker: Any, partition: int, rows: Mapping[bytes, bytes | None]) -> int:
        if self.down:
            raise ConnectionError
        self.changelog += rows.items()
        return len(self.changelog) - 1

    def write(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        assert offset == len(self.changelog) - 1
        self.rows.update(rows)


def count(row: Row | None, key: str, event: PublishedEvent) -> Row:
    return {"events": (row["events"] if row else 0) + 1}


def event(nr: int, index: int = 0, end: bool = True) -> Any:
    position = f"order-0:{nr}:{index}".encode()
    headers = [("ce_position", position), ("ce_type", b"OrderConfirmed"), ("ce_sequence", b"1"), ("ce_time", b"")]
    message = SimpleNamespace(partition=0, key=b"1", value=DATA, headers=[*headers, *([COMMIT_END] if end else [])])
    return SimpleNamespace(message=message)


@pytest.fixture
def counts() -> Rows:
    return Rows()


@pytest.fixture
def positions() -> Rows:
    return Rows()


@pytest.fixture
def applier(counts: Rows, positions: Rows) -> Applier:
    projection = Projection("counts", 1, "order", count, local=True)
    tables: Any = {"counts": counts}
    side: Any = positions
    broker: Any = None
    return Applier(
        "order", [projection], tables, side, broker, CODEC, MemoryJournal(), lambda event: None, lambda partition: True
    )


async def test_applied_is_what_is_whole(applier: Applier) -> None:
    """A commit is applied when its last event is."""
    assert 0 == applier.applied(0)
    await applier.apply([event(1), event(2, 0, end=False)])
    assert 1 == applier.applied(0)
    await applier.apply([event(2, 1)])
    assert 2 == applier.applied(0)


async def test_late_duplicates(applier: Applier, counts: Rows, positions: Rows) -> None:
    """What a former tailer publishes late has no effect, and what is applied does not go back, also in the table."""
    await applier.apply([event(1), event(2), event(3), event(1)])
    await applier.apply([event(1), event(2)])
    assert (3, b"3") == (applier.applied(0), positions.rows[b"order-0"])
    assert b'{"events":3,"position":"order-0:3:0"}' == counts.rows[b"1"]
    await applier.suspend()
    await applier.apply([event(2)])
    assert 3 == applier.applied(0)


async def test_changelog_first(applier: Applier, counts: Rows, positions: Rows) -> None:
    """Rows that are not on the changelog are not in the table either: the events are applied when they come again."""
    positions.down = True
    with pytest.raises(ConnectionError):
        await applier.apply([event(1)])
    assert ({}, {}) == (counts.rows, positions.rows)
    positions.down = False
    await applier.apply([event(1)])
    assert counts.changelog[-1] == (b"1", counts.rows[b"1"])
    assert b'{"events":1,"position":"order-0:1:0"}' == counts.rows[b"1"]
