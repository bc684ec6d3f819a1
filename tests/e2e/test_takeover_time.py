"""No partition stands still for long when its worker goes: measured by a client, from the signal to the reply."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.e2e.pulse import Change, Pulse
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, Worker

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

KILLED_SECONDS = 2.0
"""Not the session time-out of 6 s: the other worker sees that its port refuses."""
STOPPED_SECONDS = 2.0
PAUSE_SECONDS = 2.0
"""For partitions that stay where they are. A rebalance does not stop them; a busy machine may."""
LATE_SECONDS = 0.1
"""A client that cannot keep its own pace of 50 ms cannot time others: it measures again."""
ATTEMPTS = 10
PAUSED_SECONDS = 2.0


@pytest.mark.parametrize(
    ("number", "restart", "times", "limit"),
    [
        pytest.param(signal.SIGKILL, False, 3, KILLED_SECONDS, id="killed"),
        pytest.param(signal.SIGKILL, True, 1, KILLED_SECONDS, id="killed and started again"),
        pytest.param(signal.SIGTERM, False, 3, STOPPED_SECONDS, id="stopped"),
    ],
)
async def test_partitions_are_served_again_soon(
    system: System,
    number: signal.Signals,
    restart: bool,
    times: int,
    limit: float,
    pytestconfig: pytest.Config,
) -> None:
    """After kill -9 and after SIGTERM within 2 s, and the survivor's own partitions never pause for 2 s, not
    even when the killed worker is back before its session has ended. Once; with `--full` so many times."""
    times = times if pytestconfig.getoption("full") else 1
    while len(running := [worker for worker in system.workers if worker.running]) < 2:
        running = [*running, system.start(ORDERS)]
    await system.all_served(*running)
    pulse = Pulse(system)
    await pulse.start()
    measured: list[Change] = []
    try:
        for _ in range(ATTEMPTS):
            goes, stays = (worker for worker in system.workers if worker.running)
            change = await pulse.change_hands(goes, number, stays, restart=restart)
            measured += [change] if change.late < LATE_SECONDS else []
            if len(measured) == times:
                break
            if not restart:
                await pulse.join(ORDERS, stays)
    finally:
        await pulse.stop()
    assert times == len(measured), "the machine is too busy to measure anything"
    most = system.slowness
    assert [] == [change for change in measured if change.worst > most * limit or change.pause > most * PAUSE_SECONDS]


async def test_a_worker_that_is_paused_keeps_its_partitions(system: System) -> None:
    """Whoever stops for less than its session, however often, is not taken for dead: nothing is taken over."""
    while len(running := [worker for worker in system.workers if worker.running]) < 2:
        running = [*running, system.start(ORDERS)]
    await system.all_served(*running)
    before = await _epochs(system, *running)
    for _ in range(3):
        running[0].signal(signal.SIGSTOP)
        await asyncio.sleep(PAUSED_SECONDS)
        running[0].signal(signal.SIGCONT)
        await system.all_served(*running)
    assert before == await _epochs(system, *running)


async def _epochs(system: System, *workers: Worker) -> dict[str, int]:
    answers = [(await system.get(worker, "/owners"))[1] for worker in workers]
    return {row["log"]: row["epoch"] for answer in answers for row in answer["owners"]}
