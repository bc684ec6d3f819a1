"""Places that move alone are kept now and then; what changes a row is kept at once, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from projections.stores.rows import Changes, Checkpoint, Quarantined
from projections.stores.shared import throttled_checkpoints
from projections.stores.shared.throttled_checkpoints import ThrottledCheckpoints


class Store:
    """Counts what it is asked to save."""

    def __init__(self) -> None:
        self.saved: list[dict[str, Changes]] = []

    async def save(self, partition: int, changes: dict[str, Changes]) -> None:
        self.saved.append(changes)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as the only element."""
    now = [100.0]
    monkeypatch.setattr(throttled_checkpoints.time, "monotonic", lambda: now[0])
    return now


async def test_a_place_alone_is_kept_once_a_second(clock: list[float]) -> None:
    """Of many batches that change no row only the first of each second is a request."""
    store: Any = Store()
    rows = ThrottledCheckpoints(store)
    for nr in range(1, 21):
        await rows.save(0, {"archive-1": Changes(Checkpoint(nr, 0, nr, nr))})
        clock[0] += 0.125
    assert [1, 9, 17] == [changes["archive-1"].place.nr for changes in store.saved]


async def test_rows_and_quarantines_are_kept_at_once(clock: list[float]) -> None:
    """Each with its place, and without the tables that have nothing to say."""
    store: Any = Store()
    rows = ThrottledCheckpoints(store)
    quiet = Changes(Checkpoint(1, 0, 1, 1))
    await rows.save(0, {"archive-1": quiet, "other-1": quiet})
    await rows.save(
        0, {"archive-1": Changes(Checkpoint(2, 0, 2, 2), {"A": {"position": "order-0:2:0"}}), "other-1": quiet}
    )
    await rows.save(0, {"archive-1": Changes(Checkpoint(3, 0, 3, 3), {}, {"A": Quarantined("order-0:3:0", "bug", 1)})})
    assert [{"archive-1", "other-1"}, {"archive-1"}, {"archive-1"}] == [set(changes) for changes in store.saved]
