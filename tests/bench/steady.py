"""A steady run, and its longest pauses: `python -m tests.bench.steady`.

Commands to 5,000 orders for ten minutes, one worker of orders and one of the read side, both with the probe of
`probed.py`. A *pause* is a time in which no reply came at all, or no change became visible. The worst of them, and the
worst latencies, are shown with when they were and what else was seen then: an event loop that stood still and where, or
a collection; what is left has its cause in Kafka, Cassandra, or the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import uvloop

from tests.bench.door import Door
from tests.bench.latency import OPEN_ORDERS, PARTS, WARM_UP_SECONDS, Results, shop
from tests.bench.report import as_rows, table
from tests.bench.timed import Timed, at, milliseconds
from tests.bench.worker import say

RATE, SECONDS = 500.0, 600.0
WORST = 5
APART_SECONDS = 1.0
"""What is nearer to a worse one is of the same cause."""
PROBE_SECONDS = 30.0


class Pause(NamedTuple):
    """When it ended, in seconds from the first command, and how long it was."""

    at: float
    ms: float


class Stall(NamedTuple):
    """An event loop that stood still: whose, and until when on the clock of this client."""

    worker: str
    at: float
    ms: float
    gc_ms: float
    seen: Sequence[str]


async def measure_steady(rate: float = RATE, seconds: float = SECONDS) -> Results:
    """Percentiles of latencies, and the longest pauses, in milliseconds."""
    stalls: list[Stall] = []
    async with (
        shop(OPEN_ORDERS, probed=True) as (load, commands, tables),
        Door.open(commands.url) as orders_door,
        Door.open(tables.url) as tables_door,
    ):
        await load.send(rate / 2, WARM_UP_SECONDS)
        doors = {"orders": orders_door, "read side": tables_door}
        await _probed(doors)
        probing = asyncio.create_task(_probe(doors, stalls))
        timed = await load.send(rate, seconds)
        probing.cancel()
        stalls += await _probed(doors)
    results: Results = []
    late = milliseconds(timed.due, timed.sent)
    for what, times in (("reply", timed.replied), ("visible", timed.visible)):
        found = milliseconds(timed.due, times)
        results += [(f"produce to {what}, ms, {name}", at(found, part)) for name, part in PARTS]
        silent = pauses(times, timed.due[0])
        results.append((f"longest pause without a {what}, ms", silent[0].ms))
        _say_worst(f"no {what} for", silent, stalls, timed)
        slow = [Pause(time - timed.due[0], (time - due) * 1e3) for due, time in zip(timed.due, times, strict=True)]
        _say_worst(f"slowest {what}", worst(slow), stalls, timed)
    results += [(f"the client's own lateness, ms, {name}", at(late, part)) for name, part in PARTS]
    for worker in ("orders", "read side"):
        its = [stall for stall in stalls if stall.worker == worker]
        results.append(
            (f"worker of the {worker}: longest stall of its loop, ms", max((it.ms for it in its), default=0))
        )
        results.append((f"- the collector's in one, ms at most, {worker}", max((it.gc_ms for it in its), default=0)))
        results.append((f"- stalls of 50 ms or more, {worker}", len(its)))
    return results


def pauses(times: Sequence[float], begin: float) -> list[Pause]:
    """The longest times without an event, the longest first."""
    return worst([Pause(now - begin, (now - before) * 1e3) for before, now in pairwise(sorted(times))])


def worst(found: Sequence[Pause]) -> list[Pause]:
    """The worst ones, each of a time of its own."""
    chosen: list[Pause] = []
    for pause in sorted(found, key=lambda it: -it.ms):
        if all(abs(pause.at - other.at) > APART_SECONDS for other in chosen):
            chosen.append(pause)
            if len(chosen) == WORST:
                break
    return chosen


def _say_worst(what: str, found: Sequence[Pause], stalls: Sequence[Stall], timed: Timed) -> None:
    for pause in found:
        end = timed.due[0] + pause.at
        begin = end - pause.ms / 1e3
        its = [stall for stall in stalls if stall.at >= begin and stall.at - stall.ms / 1e3 <= end]
        late = max(
            (sent - due for due, sent in zip(timed.due, timed.sent, strict=True) if begin <= sent <= end), default=0
        )
        say(f"{what} {pause.ms:,.0f} ms, at {pause.at:,.1f} s; the client was late by {late * 1e3:,.0f} ms at most")
        for stall in its:
            collecting = f"{stall.gc_ms:,.0f} of them the collector's"
            say(f"  the loop of the {stall.worker} stood still for {stall.ms:,.0f} ms, {collecting}")
            for place in stall.seen[:1]:
                say(f"    in {place}")


async def _probe(doors: dict[str, Door], stalls: list[Stall]) -> None:
    while True:
        await asyncio.sleep(PROBE_SECONDS)
        stalls += await _probed(doors)


async def _probed(doors: dict[str, Door]) -> list[Stall]:
    found: list[Stall] = []
    for worker, door in doors.items():
        status, told = await door.get("/probe")
        if status != 200:
            raise RuntimeError(f"the worker of the {worker} answered {status}")
        ours = time.perf_counter() - time.time()
        found += [Stall(worker, it["at"] + ours, it["ms"], it["gc_ms"], it["seen"]) for it in told["stalls"]]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.steady", description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE, help="commands a second (default 500)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long (default 600)")
    options = parser.parse_args()
    print("\n".join(table(as_rows(uvloop.run(measure_steady(options.rate, options.seconds))))))


if __name__ == "__main__":
    main()
