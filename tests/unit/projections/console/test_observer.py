"""A part that cannot be looked at is a fault of its own, whatever is wrong with it."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaError

from projections.console.observer import PATIENCE, _look
from projections.http.problems import NotNow


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
