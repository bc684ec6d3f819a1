"""A part that cannot be looked at is a fault of its own, whatever is wrong with it."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaError

from projections.console.observer import PATIENCE, _look
from projections.console.shared import Shared
from projections.http.forwarding import HOP_SECONDS
from projections.http.problems import NotNow


async def test_who_is_silent_is_named() -> None:
    """A worker that hangs is not waited for as long as the part that needs it: the fault names its partitions."""

    async def each() -> None:
        await asyncio.sleep(HOP_SECONDS / 100)
        raise NotNow("the worker that has partition 3 has not answered in time")

    faults: dict[str, str] = {}
    await _look(faults, "lag", Shared(each, seconds=0.0, patience=PATIENCE / 100).get())
    assert "the worker that has partition 3 has not answered in time" == faults["lag"]


async def seen(error: Exception | None) -> int:
    if error is not None:
        raise error
    return 7


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, ""),
        (NotNow("a rebalance"), "a rebalance"),
        (KafkaError("down"), "KafkaError: down"),
        (TimeoutError(), f"there is no answer within {PATIENCE:g} s"),
        (ValueError("an answer of another version"), "a bug, ValueError: the log of this worker has its trace"),
    ],
)
async def test_a_part_that_cannot_be_looked_at(error: Exception | None, said: str) -> None:
    """It is a fault, and the other parts are shown; what a bug says of itself is for the log."""
    faults: dict[str, str] = {}
    answer = await _look(faults, "lag", seen(error))
    assert (None if error else 7, {"lag": said} if said else {}) == (answer, faults)
