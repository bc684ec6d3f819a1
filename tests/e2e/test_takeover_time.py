"""No partition stands still for long when its worker goes: measured by a client, from the signal to the reply."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.pulse import Change, Pulse
from tests.e2e.system import ORDERS, System

pytestmark = pytest.mark.asyncio(loop_scope="module")

KILLS, STOPS = 2, 3
KILLED_SECONDS = 10.0
STOPPED_SECONDS = 2.0
PAUSE_SECONDS = 2.0
"""For partitions that stay where they are: an eager rebalance stops them too."""


async def test_partitions_are_served_again_soon(system: System) -> None:
    """After kill -9 within 10 s, after SIGTERM within 2 s; the survivor's own partitions never pause for 2 s."""
    await system.all_served(system.start(ORDERS), system.start(ORDERS))
    pulse = Pulse(system)
    await pulse.start()
    changes: list[tuple[Change, float]] = []
    try:
        for number, limit in [(signal.SIGKILL, KILLED_SECONDS)] * KILLS + [(signal.SIGTERM, STOPPED_SECONDS)] * STOPS:
            goes, stays = (worker for worker in system.workers if worker.running)
            changes.append((await pulse.change_hands(goes, number, stays), limit))
            await pulse.join(ORDERS, stays)
    finally:
        await pulse.stop()
    assert [] == [(change, limit) for change, limit in changes if change.worst > limit]
    assert [] == [change for change, _ in changes if change.pause > PAUSE_SECONDS]
