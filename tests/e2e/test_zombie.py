"""A worker that was paused long enough to lose its partitions wakes up, and does no harm."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections import Counter

import pytest

from tests.e2e.client import eventually
from tests.e2e.invariants import check_all
from tests.e2e.load import Load
from tests.e2e.system import System
from tests.e2e.worker import ORDERS

pytestmark = pytest.mark.asyncio(loop_scope="module")

BURST, PACE = 6_000, 20_000
SLOW = {"GROUP_COMMANDS": "5"}
"""More at once than a worker with such small groups gets done, so that its queue is full when it is stopped."""
LATER = 500


async def test_zombie_is_fenced_and_rejoins(system: System) -> None:
    """SIGSTOP with a full queue, until the other has taken over, then SIGCONT: what it still appends is refused, or was
    in the journal before the takeover; it says so at most once a log and is ready again; each command had one
    effect."""
    zombie, other = system.start(ORDERS, **SLOW), system.start(ORDERS, **SLOW)
    await system.all_served(zombie, other)
    mine = [row["log"] for row in (await system.get(zombie, "/owners"))[1]["owners"]]
    assert mine
    load = Load(system, [f"load-{number}" for number in range(200)])
    await load.open_orders()

    inbox = await system.answers()
    before = len(inbox.records)
    burst = asyncio.create_task(load.lines(BURST, PACE))
    await eventually(lambda: len(inbox.records) > before + 300, 20, "the load is not served")
    zombie.signal(signal.SIGSTOP)
    ids = await burst
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
    await check_all(load)

    said = zombie.lines[said_before:]
    fenced = Counter(match[1] for line in said if (match := re.search(r"(order@\d): .*fenced", line)))
    assert fenced.keys() <= set(mine), "it had nothing to append elsewhere"
    assert max(fenced.values(), default=0) <= 1
    # An append that was on its way when it was stopped is settled first, and the rebalance may come before the next.
    assert fenced or any("appending commit" in line for line in said), "it did not try to append: this proves nothing"
    assert not [line for line in said if "Traceback" in line]
    assert zombie.running
    assert other.running
