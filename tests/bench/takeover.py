"""How long the partitions of a worker stand still after a kill -9 or a SIGTERM, over many of both."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.e2e.pulse import Change, Pulse
from tests.e2e.system import ORDERS, System

SIGNALS = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM}


async def measure_takeover(times: int) -> list[tuple[str, float]]:
    """Two workers; one is ended and replaced, the older one each time: `times` by each signal, in turn."""
    changes: dict[str, list[Change]] = {name: [] for name in SIGNALS}
    with tempfile.TemporaryDirectory() as folder:
        cassandra = os.environ.get("CASSANDRA", "127.0.0.1:9042")
        system = System(Path(folder), f"cassandra://{cassandra}/bench")
        await system.open()
        pulse = Pulse(system)
        try:
            goes, stays = system.start(ORDERS), system.start(ORDERS)
            await system.all_served(goes, stays)
            await pulse.start()
            for number in range(times):
                for name, sent in SIGNALS.items():
                    change = await pulse.change_hands(goes, sent, stays)
                    changes[name].append(change)
                    print(f"{number + 1} {name}: {change}", file=sys.stderr, flush=True)
                    goes, stays = stays, system.start(ORDERS)
                    await system.all_served(goes, stays)
        finally:
            await pulse.stop()
            await system.close()
    return [figure for name, found in changes.items() for figure in _figures(name, found)]


def _figures(name: str, changes: Sequence[Change]) -> list[tuple[str, float]]:
    again = [max(change.again.values()) for change in changes]
    paused = [max(change.paused.values()) for change in changes]
    return [
        (f"{name}: partitions served again after, median of {len(changes)}, s", median(again)),
        (f"{name}: worst, s", max(again)),
        (f"{name}: partitions that stay where they are, longest wait of a command, median, s", median(paused)),
        (f"{name}: worst, s", max(paused)),
    ]
