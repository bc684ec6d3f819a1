"""The applier over tables in memory: where to go on from is written after the rows, never before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from aggregates.shop.order import OrderOpened, order
from projections.applier import Applier, MissingEvents
from projections.shop.orders import orders
from projections.tailer import COMMIT_END
from schemas.codec import Codec
from schemas.registry import Schemas

CODEC = Codec([s for s in Schemas.load("shop", "order") if s.name not in order.commands], order.events)
OPENED = CODEC.encode(OrderOpened("17850", "sale", "France", datetime(2010, 12, 1, tzinfo=UTC)))


class Rows:
    """A table; `lost` says that its changelog cannot be written."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes | None] = {}
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.lost = False

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self.rows.get(key)

    async def publish(self, broker: Any, partition: int, rows: Mapping[bytes, bytes | None]) -> int:
        if self.lost:
            raise ConnectionError("no changelog")
        self.changelog += rows.items()
        return len(self.changelog) - 1

    def write(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        assert offset == len(self.changelog) - 1
        self.rows.update(rows)


def opened(offset: int, nr: int, key: str, sequence: int = 1) -> Any:
    """The first event of an order, alone in its commit, or one that says it were a later one."""
    headers = {"ce_position": f"order-0:{nr}:0", "ce_type": "OrderOpened", "ce_sequence": f"{sequence}", "ce_time": ""}
    encoded = [(name, value.encode()) for name, value in headers.items()]
    message = SimpleNamespace(
        partition=0, offset=offset, key=key.encode(), value=OPENED, headers=[*encoded, COMMIT_END]
    )
    return SimpleNamespace(message=message)


@pytest.fixture
def tables() -> tuple[Rows, Rows]:
    """Rows and positions."""
    return Rows(), Rows()


@pytest.fixture
def applier(tables: tuple[Rows, Rows]) -> Applier:
    rows, positions = tables
    nothing: Any = None
    args: Any = ("order", "order-events", [orders], {"orders": rows}, positions, nothing, CODEC, nothing)
    return Applier(*args, let_go=lambda event: None, rejoin=lambda: None)


async def test_position_follows_the_rows(applier: Applier, tables: tuple[Rows, Rows]) -> None:
    """A batch whose rows are not on the changelog leaves the place to go on from where it was."""
    rows, _ = tables
    await applier.apply([opened(6, 3, "a")])
    assert {0: 7} == applier.assign({0: 10})
    assert 3 == applier.applied(0)
    rows.lost = True
    with pytest.raises(ConnectionError):
        await applier.apply([opened(7, 4, "b")])
    await applier.suspend()
    assert {0: 7} == applier.assign({0: 10})
    assert 3 == applier.applied(0)
    rows.lost = False
    await applier.apply([opened(7, 4, "b")])
    await applier.suspend()
    assert {0: 8} == applier.assign({0: 10})
    await applier.suspend()


async def test_changelog_first(applier: Applier, tables: tuple[Rows, Rows]) -> None:
    """Rows that are not on the changelog are not in the table either: the events are applied when they come again."""
    rows, _ = tables
    rows.lost = True
    with pytest.raises(ConnectionError):
        await applier.apply([opened(6, 3, "a")])
    assert {} == rows.rows
    rows.lost = False
    await applier.apply([opened(6, 3, "a")])
    assert dict(rows.changelog) == rows.rows
    assert {b"a"} == rows.rows.keys()


async def test_late_duplicate_takes_nothing_back(applier: Applier) -> None:
    """An event that was published again, behind newer ones, moves the offset and not what is applied."""
    await applier.apply([opened(6, 3, "a"), opened(7, 4, "b"), opened(8, 3, "a")])
    assert ({0: 9}, 4) == (applier.assign({0: 10}), applier.applied(0))
    await applier.suspend()


@pytest.mark.parametrize("sequence", [2, 3])
async def test_a_missing_event_is_waited_for(applier: Applier, tables: tuple[Rows, Rows], sequence: int) -> None:
    """An aggregate's sequence that jumps is no event of its row: nothing of the batch is applied, and it says which."""
    rows, positions = tables
    with pytest.raises(MissingEvents, match=f"order a stands at sequence 0, order-0:4:0 brings {sequence}"):
        await applier.apply([opened(6, 3, "b"), opened(7, 4, "a", sequence)])
    assert ({}, {}) == (rows.rows, positions.rows)


async def test_nothing_is_applied_of_what_is_not_assigned(applier: Applier) -> None:
    """How far a partition is applied is not known before it is assigned, nor after it is revoked."""
    assert applier.applied(0) is None
    assert {0: 0} == applier.assign({0: 10})
    assert 0 == applier.applied(0)
    await applier.suspend()
    assert applier.applied(0) is None


async def test_a_topic_that_ends_too_early_is_read_from_its_beginning(applier: Applier) -> None:
    """Where the events topic was made again, the offset to go on from says nothing."""
    await applier.apply([opened(6, 3, "a")])
    assert {0: 0} == applier.assign({0: 6})
    await applier.suspend()
    assert {0: 7} == applier.assign({0: 7})
    await applier.suspend()
