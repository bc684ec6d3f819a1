"""The part `console` of the bench in a minute: few events, two of the pages, and a short look. What is a good figure
depends on the machine; that there is one does not."""

from __future__ import annotations

import pytest

from tests.bench.console import measure_console

pytestmark = pytest.mark.full


async def test_the_console_is_measured() -> None:
    """What pages ask and take, how soon routes answer, and what a worker takes of a core while people look."""
    found = dict(await measure_console(orders=50, events=500, seconds=1.0, pages=["Now", "Aggregate"]))
    for page in ("Now", "Aggregate"):
        assert found[f"{page}: s until shown, empty cache"] > 0
        assert found[f"{page}: requests until then"] > 10
        assert found[f"{page}: kB until then"] > 50
    for route in ("/lag", "/projections", "/orders/{id}/history", "/stories/{position}"):
        assert found[f"{route}: ms to the first byte, again"] > 0
    assert found["processor time of the worker, % of a core: 10 look at Now"] > 0
