"""From produce to reply, and from produce to visible in the table, at steady rates: `python -m tests.bench.latency`.

One worker of orders and one of the read side, with all projections of the shop. What counts as visible, and from when
the time runs, is in `timed.py`. Beside it some commands are looked at by a query, which waits for the position of their
reply (`At-Least`); and each of those orders is asked for when the stream has shown it: the query must show it, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import uvloop

from streams.deciding.messages import Reply
from tests.bench.report import as_rows, table
from tests.bench.space import space
from tests.bench.timed import Timed, TimedLoad, at, milliseconds, row_sequence
from tests.bench.worker import START_SECONDS, Worker, say
from tests.e2e.worker import ORDERS, PROJECTIONS, free_port

RATES = (50, 500, 2_000)
SECONDS, WARM_UP_SECONDS = 20.0, 5.0
OPEN_ORDERS = 5_000
LOOKS = 100
PARTS = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
PROBED = "tests.bench.probed"

Results = list[tuple[str, float]]


@contextlib.asynccontextmanager
async def shop(orders: int, probed: bool = False) -> AsyncIterator[tuple[TimedLoad, Worker, Worker]]:
    """One worker of orders and one of the read side in a namespace of their own, with that many orders open; with
    `probed`, each with the probe of `probed.py`."""
    async with space() as found:
        with contextlib.ExitStack() as running:
            workers = [
                running.enter_context(found.worker(PROBED if probed else module, port=free_port(), PROBED=module))
                for module in (ORDERS, PROJECTIONS)
            ]
            for one in workers:
                await one.says("ready: ", START_SECONDS)
            load = TimedLoad(found.settings, orders, workers[1].url)
            async with load.clients():
                yield load, workers[0], workers[1]


async def measure_latency(rates: Sequence[float] = RATES, seconds: float = SECONDS) -> Results:
    """Percentiles in milliseconds, from when a command is due, at each of these rates for so long."""
    results: Results = []
    async with shop(OPEN_ORDERS) as (load, commands, tables):
        await load.send(200, WARM_UP_SECONDS)
        for rate in rates:
            used = commands.cpu_seconds(), tables.cpu_seconds()
            looks = Looks(load, tables.url)
            load.on_visible = looks.hold
            timed = await load.send(rate, seconds, LOOKS)
            late = milliseconds(timed.due, timed.sent)
            figures = {
                "produce to reply": milliseconds(timed.due, timed.replied),
                "produce to visible": milliseconds(timed.due, timed.visible),
                "produce to a query that waits for the reply's position": await looks.took(),
                "the client's own lateness, contained in all": late,
            }
            for what, found in figures.items():
                its = {name: at(found, part) for name, part in PARTS}
                say(f"{rate:,.0f}/s, {what}: " + ", ".join(f"{name} {ms:.1f}" for name, ms in its.items()) + " ms")
                results += [(f"{rate:,.0f} commands/s: {what}, ms, {name}", ms) for name, ms in its.items()]
            for name, one, before in zip(("orders", "read side"), (commands, tables), used, strict=True):
                each = (one.cpu_seconds() - before) / len(timed) * 1e6
                results.append((f"{rate:,.0f} commands/s: CPU of the worker of the {name} per command, us", each))
    return results


class Looks:
    """Queries for the orders of some of the commands that a load sends; what one may not show is raised."""

    def __init__(self, load: TimedLoad, url: str) -> None:
        self._url = url
        self._running: list[asyncio.Task[None]] = []
        self._took: list[float] = []
        load.on_reply = lambda *its: self._running.append(asyncio.create_task(self._ask(*its)))

    async def took(self) -> list[float]:
        """Milliseconds from when commands were due until a query that waits for the position of the reply has shown
        them, from the shortest. Raises `RuntimeError` where it shows an older row."""
        await asyncio.gather(*self._running)
        return sorted(self._took)

    def hold(self, timed: Timed, number: int, order: str) -> None:
        """Have a query look whether it shows what the stream has shown."""
        self._running.append(asyncio.create_task(self._hold(timed.sequences[number], order)))

    async def _ask(self, timed: Timed, number: int, reply: Reply) -> None:
        if await row_sequence(self._url, reply.aggregate.id, reply.position) < timed.sequences[number]:
            raise RuntimeError(f"a query that waits for {reply.position} shows an older row of {reply.aggregate.id}")
        self._took.append((time.perf_counter() - timed.due[number]) * 1e3)

    async def _hold(self, sequence: int, order: str) -> None:
        if await row_sequence(self._url, order) < sequence:
            raise RuntimeError(f"a query shows an older row of {order} than the stream has shown")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.latency", description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="commands a second (default 50 500 2000)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="at each rate (default 20)")
    options = parser.parse_args()
    print("\n".join(table(as_rows(uvloop.run(measure_latency(options.rates, options.seconds))))))


if __name__ == "__main__":
    main()
