"""The autonomy matrix: each context, the broker, and each pair of them is down while orders are placed."""

from __future__ import annotations

import logging
from itertools import combinations

import pytest

from tests.autonomy.fleet import BROKER, Fleet
from tests.autonomy.results import Result

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.full, pytest.mark.asyncio(loop_scope="module")]

SINGLES = "products", "users", "checkout", "timers", "projections", BROKER
ROWS = [*((one,) for one in SINGLES), *combinations(SINGLES, 2)]
DOWN_SECONDS = 6.0


@pytest.mark.parametrize("down", ROWS, ids="-".join)
async def test_orders_wait_and_are_confirmed(own_fleet: Fleet, results: list[Result], down: tuple[str, ...]) -> None:
    """Orders are placed whatever is down, unless it is the broker, and wait; when it is back each ends as it has to,
    its stock reserved once, and nothing is lost."""
    results.append(await own_fleet.without(down, DOWN_SECONDS))
    log.info("%s", results[-1])
    assert (0, 0) == (results[-1].lost, results[-1].doubled)
    assert BROKER in down or results[-1].meanwhile > DOWN_SECONDS


async def test_a_paused_checkout_wakes_up(own_fleet: Fleet, results: list[Result]) -> None:
    """SIGSTOP of one of two checkout workers until the other has its partitions, then SIGCONT: what it still sends and
    brings on has no second effect."""
    results.append(await own_fleet.with_a_paused_checkout())
    log.info("%s", results[-1])
    assert (0, 0) == (results[-1].lost, results[-1].doubled)
