"""An ordinary load: people who wait, so many a second, and nobody at all; beside Pekko, in turn.

One worker of orders and one of the read side, with all projections of the shop; lines for 5,000 orders at an even pace.
A command is due whether or not those before it are answered, and its times count from when it is due (`timed.py`).

* *reply*: until the client has it.
* *visible*: until a query that waits for the reply's position (`At-Least`) shows the row. It is asked over HTTP as soon
  as the reply is there, again where the worker says that it does not have it yet, and for ten commands a second.
  Pekko's: until its `eventsByTag` delivers the event, which is its way to a read side. All commands are counted there.
* *followed*: until a client that follows the list of orders has the row; all commands.
* *processor time* of a command: all that the processes took while there was this load, by the number of commands; so
  with few commands a second it is also what they take when there are none. *Above idle* is the difference to that. The
  followed list and the queries are in it, the client is not. Pekko asks no Kafka, and its client is in its process;
  its events come seven seconds late, and what it takes to look for the last ones counts.
* *idle*: what the processes take of a core with no commands, seconds after the last one.

Our workers are started for each round and gone when Pekko has its turn, so that Cassandra does nothing for them then;
Pekko stays up, and warm, and rests.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.cassandra import Cassandra, cassandra
from tests.bench.commands import PEKKO, PEKKO_WARM_UPS
from tests.bench.latency import OPEN_ORDERS, WARM_UP_SECONDS, Looks, shop
from tests.bench.report import Row
from tests.bench.rivals.pekko import WARM_UP, Pekko, pekko
from tests.bench.timed import at, milliseconds
from tests.bench.usage import Spent, Usage, servers
from tests.bench.worker import say

WARM_UP_RATE = 200
LOOKS_A_SECOND = 10
SETTLE_SECONDS = 5.0
REST_SECONDS = 10.0
"""So long Cassandra is waited for at most: on a machine that does other things, too, it may never rest."""
PERCENTILES = (("p50", 0.5), ("p99", 0.99))
SERVERS = {"Kafka", "Cassandra"}
ALL, WORKERS, ABOVE = "all processes", "the workers", "all processes, above idle"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    rates    commands a second, one after another
    seconds  of each of them, in each round
    idle     seconds without commands at the begin of a round; a third of them for Pekko
    rounds   of ours, then Pekko's
    alone    whether Pekko is left out
    orders   that are open, of ours
    warm_up  seconds of commands before anything is measured, of ours
    """

    rates: Sequence[int] = (50, 500, 2_000)
    seconds: int = 20
    idle: float = 30.0
    rounds: int = 3
    alone: bool = False
    orders: int = OPEN_ORDERS
    warm_up: float = WARM_UP_SECONDS


class Figures:
    """What the rounds gave, by what it is, in the order in which it was seen first."""

    def __init__(self) -> None:
        self._figures: defaultdict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))

    def ours(self, what: str, figure: float) -> None:
        """A figure of a round of ours."""
        self._figures[what][0].append(figure)

    def theirs(self, what: str, figure: float) -> None:
        """A figure of a round of Pekko's, of what ours has too."""
        self._figures[what][1].append(figure)

    def rows(self) -> list[Row]:
        """All of it; less is better everywhere."""
        return [
            Row(what, ours, PEKKO if theirs else "", theirs, less=True)
            for what, (ours, theirs) in self._figures.items()
        ]


async def measure_ordinary(plan: Plan) -> list[Row]:
    """Milliseconds until commands are replied to and visible, and the processor time of each; and what is taken of a
    core when there are none."""
    figures = Figures()
    if unseen := SERVERS - servers().keys():
        say(
            f"the processor time of {' and '.join(sorted(unseen))} is not to be seen, and in no figure: see SERVERS_DIR"
        )
    async with cassandra() as store, contextlib.AsyncExitStack() as stack:
        rival = None if plan.alone else await stack.enter_async_context(pekko())
        if rival is not None:
            await _warm(rival, store)
        for number in range(1, plan.rounds + 1):
            await _ours(plan, f"ours, round {number}", figures, store)
            if rival is not None:
                await _pekko(plan, f"Pekko, round {number}", figures, store, rival)
    return figures.rows()


async def _warm(rival: Pekko, store: Cassandra) -> None:
    """Rounds for the rival's compiler. In the first its circuit breaker may open, while the stores are still cold."""
    for number in range(1, PEKKO_WARM_UPS + 1):
        await store.rests(REST_SECONDS)
        try:
            await rival.round(WARM_UP, OPEN_ORDERS)
        except RuntimeError as error:
            if number == PEKKO_WARM_UPS:
                raise
            say(f"Pekko, warm-up {number}: {str(error).splitlines()[0]}")
    await rival.latency(WARM_UP_RATE, round(WARM_UP_SECONDS))


async def _ours(plan: Plan, name: str, figures: Figures, store: Cassandra) -> None:
    async with shop(plan.orders) as (load, commands, tables):
        processes = {"the orders": [commands.pid], "the read side": [tables.pid], **servers()}
        await load.send(WARM_UP_RATE, plan.warm_up)
        idle = await _idle(processes, plan.idle, name, store)
        for process, share in {ALL: sum(idle.values()), **idle}.items():
            figures.ours(f"idle: % of a core, {process}", share * 100)
        for rate in plan.rates:
            usage, looks, client = Usage(processes), Looks(load, tables.url), time.process_time()
            timed = await load.send(rate, plan.seconds, LOOKS_A_SECOND * plan.seconds)
            times = {
                "reply": milliseconds(timed.due, timed.replied),
                "visible": await looks.took(),
                "followed": milliseconds(timed.due, timed.visible),
                "the client's own lateness, contained in all": milliseconds(timed.due, timed.sent),
            }
            client = time.process_time() - client
            await store.rests(REST_SECONDS)
            for what, found in times.items():
                for percentile, part in PERCENTILES:
                    figures.ours(f"{rate:,}/s: {what}, ms, {percentile}", at(found, part))
            spent = usage.spent(len(timed))
            cost = costs(spent, idle, rate, plan.seconds)
            for process, ms in cost.items():
                figures.ours(_processor(rate, process), ms)
            figures.ours(_processor(rate, "the client, in none of these"), client / len(timed) * 1e3)
            _switched(figures.ours, rate, spent)
            _say(name, rate, {what: at(times[what], 0.5) for what in ("reply", "visible")}, cost)


async def _pekko(plan: Plan, name: str, figures: Figures, store: Cassandra, rival: Pekko) -> None:
    processes = {"Pekko": [rival.pid], **servers()}
    processes.pop("Kafka", None)  # it asks none
    idle = await _idle(processes, plan.idle / 3, name, store)
    figures.theirs(f"idle: % of a core, {ALL}", sum(idle.values()) * 100)
    for rate in plan.rates:
        usage = Usage(processes)
        found = await rival.latency(rate, plan.seconds)
        await store.rests(REST_SECONDS)
        for what, its in (("reply", found.reply), ("visible", found.visible)):
            if its.count < found.sent:
                say(f"{name}: of {found.sent:,} commands {its.count:,} had a {what}; the others are in no figure")
            for percentile, ms in (("p50", its.p50), ("p99", its.p99)):
                figures.theirs(f"{rate:,}/s: {what}, ms, {percentile}", ms)
        spent = usage.spent(found.sent)
        cost = costs(spent, idle, rate, plan.seconds)
        for process in (ALL, ABOVE, WORKERS, "Cassandra"):
            if process in cost:
                figures.theirs(_processor(rate, process), cost[process])
        _switched(figures.theirs, rate, spent)
        _say(name, rate, {"reply": found.reply.p50, "visible": found.visible.p50}, cost)


async def _idle(processes: Mapping[str, list[int]], seconds: float, name: str, store: Cassandra) -> dict[str, float]:
    """What each takes of a core, when what came before is over."""
    await asyncio.sleep(SETTLE_SECONDS)
    await store.rests(REST_SECONDS)
    usage = Usage(processes)
    await asyncio.sleep(seconds)
    spent = usage.spent(1)
    idle = {process: us / 1e6 / spent.seconds for process, us in spent.each.items()}
    say(f"{name}, idle: " + ", ".join(f"{process} {share:.1%}" for process, share in idle.items()))
    return idle


def costs(spent: Spent, idle: Mapping[str, float], rate: float, seconds: float) -> dict[str, float]:
    """Milliseconds of processor time of a command: of all, of all above idle, of the workers, and of each process.

    `spent` is until all that followed the last command was over, and what was done for commands then counts. Who is
    slow is idle for longer there, so what idle processes take counts for as long as commands were sent.
    """
    later = spent.seconds - seconds
    each = {name: us / 1e3 - idle[name] * later / (rate * seconds) * 1e3 for name, us in spent.each.items()}
    total = sum(each.values())
    return {
        ALL: total,
        ABOVE: total - sum(idle.values()) / rate * 1e3,
        WORKERS: sum(ms for name, ms in each.items() if name not in SERVERS),
        **each,
    }


def _processor(rate: float, process: str) -> str:
    return f"{rate:,}/s: CPU ms/command, {process}"


def _switched(note: Callable[[str, float], None], rate: float, spent: Spent) -> None:
    """Context switches: of the workers together, and of each of several."""
    its = {name: switches for name, switches in spent.switches.items() if name not in SERVERS}
    for process, switches in {WORKERS: sum(its.values()), **(its if len(its) > 1 else {})}.items():
        note(f"{rate:,}/s: context switches/command, {process}", switches)


def _say(name: str, rate: float, medians: Mapping[str, float], cost: Mapping[str, float]) -> None:
    times = ", ".join(f"{what} {ms:,.1f} ms" for what, ms in medians.items())
    say(f"{name}, {rate:,}/s: {times}, {cost[ALL]:.2f} ms of processor time a command")
