"""A worker that was paused long enough to lose its partitions wakes up, and does no harm."""

from __future__ import annotations

import re
import signal
import time

import pytest

from tests.e2e.system import ORDERS, PARTITIONS, System
from tests.e2e.test_takeover import Load

pytestmark = pytest.mark.asyncio(loop_scope="module")

BURST = 6_000
LATER = 500


async def test_zombie_is_fenced_and_rejoins(system: System) -> None:
    """SIGSTOP with a full queue, until the other has taken over, then SIGCONT: the journal refuses the late commit, the
    worker says so at most once a partition and is ready again, and every command had one effect."""
    zombie, other = system.start(ORDERS), system.start(ORDERS)
    await system.all_served(zombie, other)
    mine = await system.partitions(zombie)
    assert mine
    load = Load(system, [f"load-{number}" for number in range(200)])
    await load.open_orders()

    inbox = await system.answers()
    ids = await load.lines(BURST, pace=1e9)
    zombie.signal(signal.SIGSTOP)
    assert len(inbox.records) < BURST + 200, "the zombie had nothing left to do: a larger burst is needed"
    await system.all_served(other)
    ids += await load.lines(LATER)
    await system.covered("orders", "order")
    said_before = len(zombie.lines)
    zombie.signal(signal.SIGCONT)
    deadline = time.monotonic() + 60
    while not (len(zombie.lines) > said_before and await system.partitions(zombie)):
        assert time.monotonic() < deadline, zombie.tail()
        ids += await load.lines(50)  # so that there is something to append while it wakes
    await system.all_served(zombie, other)
    await load.answered(ids)
    await load.check()

    said = zombie.lines[said_before:]
    for partition in range(PARTITIONS):
        lost = [line for line in said if re.search(rf"order-{partition}: .*(fenced|lost)", line)]
        assert len(lost) <= (partition in mine)
    assert not [line for line in said if "Traceback" in line]
    assert zombie.running
    assert other.running
