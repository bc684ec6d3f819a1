"""A worker that knows when its event loop stood still: the app of the module `PROBED`, with a probe beside it.

`/probe` says since it was last asked: how late the loop was (`late`: p50, p99 and the maximum, in milliseconds), how
much processor time its thread took before it came round (`busy`: likewise, whatever else the machine does), the pauses
of the collector, and of each stall of `PROBED_STALL` milliseconds or more (50) when it ended, how long it was, how much
of it was the collector's, and where the loop was when a second thread looked.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import Any

from streams.runtime.part import Part

TICK = 0.005
STALL = float(os.environ.get("PROBED_STALL", "50")) / 1e3
FRAMES = 7
MOST = 1_000

app = importlib.import_module(os.environ["PROBED"]).app


class Probe:
    """How late the loop is, tick by tick; a thread looks where it is when it does not come back."""

    def __init__(self) -> None:
        self._ticked = time.perf_counter()
        self._collecting = 0.0
        self._forget()
        self._seen: Counter[str] = Counter()

    def _forget(self) -> None:
        self._late: list[float] = []
        self._busy: list[float] = []
        self._collected: list[tuple[int, float]] = []
        self._stalls: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Tick for ever."""
        self._main = threading.get_ident()
        gc.callbacks.append(self._collects)
        threading.Thread(target=self._watch, daemon=True, name="probe").start()
        while True:
            collections, used = len(self._collected), time.thread_time()
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            late, self._ticked = now - self._ticked - TICK, now
            self._late.append(late)
            self._busy.append(time.thread_time() - used)
            if late > STALL and len(self._stalls) < MOST:
                in_it = sum(seconds for _, seconds in self._collected[collections:])
                seen = [place for place, _ in self._seen.most_common(3)]
                self._stalls.append({"at": time.time(), "ms": late * 1e3, "gc_ms": in_it * 1e3, "seen": seen})
            self._seen.clear()

    def _collects(self, phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collecting = now
        else:
            self._collected.append((info["generation"], now - self._collecting))

    def _watch(self) -> None:
        while True:
            time.sleep(STALL / 2)
            if time.perf_counter() - self._ticked > STALL / 2 + TICK:
                frame = sys._current_frames().get(self._main)
                if frame is not None:
                    self._seen[_place(frame)] += 1

    def told(self) -> dict[str, Any]:
        """What was seen since the last time."""
        late, busy, collected, stalls = self._late, self._busy, self._collected, self._stalls
        self._forget()
        return {
            "late": _milliseconds(late),
            "busy": _milliseconds(busy),
            "gc": {
                f"generation {number}": {
                    "times": len(its := [seconds for generation, seconds in collected if generation == number]),
                    "sum": sum(its) * 1e3,
                    "max": max(its, default=0.0) * 1e3,
                }
                for number in range(3)
            },
            "stalls": stalls,
        }


def _place(frame: FrameType | None) -> str:
    places = []
    while frame is not None and len(places) < FRAMES:
        code = frame.f_code
        places.append(f"{'/'.join(code.co_filename.rsplit('/', 2)[1:])}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(places)


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    parts = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return {name: ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1e3 for name, part in parts}


probe = Probe()


class _Probing(Part):
    async def start(self) -> None:
        app.probing = asyncio.create_task(probe.run(), name="probe")


@app.page("/probe")
async def _told(view: Any, request: Any) -> Any:
    return view.json(probe.told())


app.parts.insert(0, _Probing())
