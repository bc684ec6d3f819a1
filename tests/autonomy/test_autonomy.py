"""The shop goes on without its parts: the short form of the matrix, for every run of the tests."""

from __future__ import annotations

import pytest

from tests.autonomy.fleet import Fleet

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOWN_SECONDS = 2.0


@pytest.mark.parametrize("down", [("products", "checkout"), ("projections",)], ids="-".join)
async def test_orders_wait_and_are_confirmed(fleet: Fleet, down: tuple[str, ...]) -> None:
    """Orders are placed whatever is down, and wait; when it is back each ends as it has to, its stock reserved once."""
    result = await fleet.without(down, DOWN_SECONDS)
    assert result.waiting > 0
    assert (0, 0) == (result.lost, result.doubled)
