"""The part `ordinary` of the bench in a minute: ours, one round of one rate. What is a good figure depends on the
machine and on what else it does; that there is one, and what must hold of it anywhere, does not."""

from __future__ import annotations

import pytest

from tests.bench.ordinary import Plan, measure_ordinary

pytestmark = pytest.mark.full
RATE = 50


async def test_commands_of_people_who_wait_are_measured() -> None:
    """Each is replied to and shown, the latency of each counts from when it was due, and what they cost is seen."""
    rows = await measure_ordinary(
        Plan(rates=[RATE], seconds=4, idle=2.0, rounds=1, alone=True, orders=500, warm_up=2.0)
    )
    found = {row.what: row.ours[0] for row in rows}
    for what in ("reply", "visible", "followed"):
        p50, p99 = (found[f"{RATE}/s: {what}, ms, {percentile}"] for percentile in ("p50", "p99"))
        assert 0 < p50 <= p99
    assert found[f"{RATE}/s: reply, ms, p50"] <= found[f"{RATE}/s: visible, ms, p50"]
    for process in ("the orders", "the read side", "all processes"):
        assert found[f"{RATE}/s: CPU ms/command, {process}"] > 0
        assert found[f"idle: % of a core, {process}"] >= 0
    assert found[f"{RATE}/s: context switches/command, the workers"] > 0
