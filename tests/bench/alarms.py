"""False alarms: how often a worker that is only slow is taken for dead, on a machine that has too much to do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.report import Figure
from tests.bench.worker import say
from tests.e2e.pulse import Pulse
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, Worker

GONE, TAKEN_OVER, FENCED = "it is taken out of the group", "taken over from", "fenced, another owner"


async def measure_alarms(minutes: float, busy: int) -> list[Figure]:
    """Two workers under light load, beside so many processes that are busy all the time, for so many minutes: whatever
    changes hands does so by a false alarm."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), f"cassandra://{os.environ.get('CASSANDRA', '127.0.0.1:9042')}/bench")
        await system.open()
        pulse = Pulse(system)
        try:
            workers = [system.start(ORDERS, level="info"), system.start(ORDERS, level="info")]
            await system.all_served(*workers)
            await pulse.start()
            before = [_counts(worker) for worker in workers]
            with _busy(busy):
                loads = await _wait(minutes)
                after = [_counts(worker) for worker in workers]
            await pulse.stop()
            waits = sorted(beat.replied - beat.sent for beat in pulse.beats.values() if beat.replied)
        finally:
            await system.close()
    said = {what: sum(b[what] - a[what] for a, b in zip(before, after, strict=True)) for what in before[0]}
    return [
        (f"load of the machine, mean of {minutes:g} minutes", sum(loads) / len(loads)),
        ("members taken out of the group, of two that were there all the time", said[GONE]),
        ("rebalances", said["ready: "] / len(workers)),
        ("logs taken over", said[TAKEN_OVER]),
        ("owners fenced", said[FENCED]),
        ("wait of a command, s, median", waits[len(waits) // 2]),
        ("wait of a command, s, worst", waits[-1]),
    ]


async def _wait(minutes: float) -> list[float]:
    """The load of the machine every few seconds, without the first minute, in which it rises, where there are more."""
    end, loads = time.monotonic() + 60 * minutes, list[float]()
    while time.monotonic() < end:
        await asyncio.sleep(min(5.0, max(0.0, end - time.monotonic())))
        loads.append(os.getloadavg()[0])
    say(f"load of the machine: {loads[-1]:.1f}")
    return loads[12:] or loads


def _counts(worker: Worker) -> dict[str, int]:
    """How often its log says what."""
    lines = worker.lines
    return {what: sum(what in line for line in lines) for what in (GONE, TAKEN_OVER, FENCED, "ready: ")}


@contextmanager
def _busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
