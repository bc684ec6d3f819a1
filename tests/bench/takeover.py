"""How long partitions stand still when a worker is killed, stopped, replaced, or joins: over many of each."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.e2e.pulse import Change, Pulse
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, Worker

KILLED, STOPPED, RESTARTED, JOINED = "kill -9", "SIGTERM", "kill -9, started again at once", "a worker joins"


async def measure_takeover(kills: int, times: int) -> list[tuple[str, float]]:
    """Two workers under light load; the older one goes and is replaced: killed `kills` times, `times` in other ways."""
    changes: dict[str, list[Change]] = {KILLED: [], STOPPED: [], RESTARTED: [], JOINED: []}

    def note(kind: str, change: Change) -> None:
        changes[kind].append(change)
        again = f"served again after {change.worst:.2f} s, " if change.again else ""
        others = f"others waited {change.pause:.2f} s (the client itself was {change.late:.2f} s late)"
        print(f"{len(changes[kind])} {kind}: {again}{others}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), f"cassandra://{os.environ.get('CASSANDRA', '127.0.0.1:9042')}/bench")
        await system.open()
        pulse = Pulse(system)
        try:
            await system.all_served(system.start(ORDERS), system.start(ORDERS))
            await pulse.start()
            for kind, sent in [(KILLED, signal.SIGKILL)] * kills + [(STOPPED, signal.SIGTERM)] * times:
                goes, stays = _running(system)
                note(kind, await pulse.change_hands(goes, sent, stays))
                note(JOINED, await pulse.join(ORDERS, stays))
            for _ in range(times):
                goes, stays = _running(system)
                note(RESTARTED, await pulse.change_hands(goes, signal.SIGKILL, stays, restart=True))
            await pulse.stop()
        finally:
            await system.close()
    return [figure for kind, found in changes.items() for figure in _figures(kind, found)]


def _running(system: System) -> list[Worker]:
    return [worker for worker in system.workers if worker.running]


def _figures(kind: str, changes: Sequence[Change]) -> list[tuple[str, float]]:
    figures: list[tuple[str, float]] = []
    if again := [change.worst for change in changes if change.again]:
        figures += [
            (f"{kind}: its partitions are served again, s, median of {len(again)}", median(again)),
            (f"{kind}: its partitions are served again, s, worst", max(again)),
        ]
    pauses = [change.pause for change in changes]
    return [
        *figures,
        (f"{kind}: longest wait of a command elsewhere, s, median of {len(pauses)}", median(pauses)),
        (f"{kind}: longest wait of a command elsewhere, s, worst", max(pauses)),
    ]
