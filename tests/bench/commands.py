"""Commands a second from Kafka to the durable journal with replies, beside the rivals in the same run.

What a rate of ours is says `load.py`: unless it is called one of replies, it is until the rows by aggregate are written
too. What the rivals do:

* *Faust's bare intake*: a worker that only counts the messages of the same topic, from the first to the last. It
  decides, stores and answers nothing.
* *Pekko*: asked in its own process, 1,000 without an answer at a time, which gives it the most (300 and 4,000 gave
  less); from the first ask to the last answer. Its tag view may be a second behind then. No command passes through
  Kafka.
* *eventsourcing*: called in its own process, one command after another, on SQLite.

Ours is measured under both kinds of load: *open*, all commands waiting in Kafka as intake has them, and *closed*, 1,000
without a reply as Pekko has them. All processes stay up and rest in turn; a resting Pekko takes about 2 % of a core.
Each has warmed up before. A round begins when Cassandra has done what the one before left to it: flushes and
compactions are in the processor time of the round that caused them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tests.bench.cassandra import Cassandra, cassandra
from tests.bench.load import Load
from tests.bench.report import Figure, Row
from tests.bench.rivals.eventsourcing import Eventsourcing, eventsourcing
from tests.bench.rivals.pekko import IN_FLIGHT, WARM_UP, Pekko, pekko
from tests.bench.space import Space, bare_intake, orders_worker
from tests.bench.usage import Spent, Usage, servers
from tests.bench.worker import Worker, say

PEKKO, EVENTSOURCING, INTAKE = "Pekko, tagged", "eventsourcing", "Faust's bare intake"
PEKKO_WARM_UPS = 3
"""Rounds, until its JVM has compiled what counts."""
SLOWER = 4
"""Whose rate is a quarter of the open load's gets so many commands fewer, so that rounds take about as long."""
INTAKE_COUNT = 60_000
HOT_COUNT = 3_000
"""For a rival, whose single order does hardly a thousand a second."""


class Contest:
    """Ours and the rivals, all warm, and what each round gave."""

    def __init__(
        self, store: Cassandra, space: Space, load: Load, running: Worker, rival: Pekko, other: Eventsourcing
    ) -> None:
        self._store = store
        self._space = space
        self._load = load
        self._worker = running
        self._pekko = rival
        self._other = other
        self.rates: defaultdict[str, list[float]] = defaultdict(list)
        self.replies: defaultdict[str, list[float]] = defaultdict(list)
        self.spent: defaultdict[str, list[Spent]] = defaultdict(list)

    async def ours(self, name: str, count: int, among: int, in_flight: int = 0) -> None:
        """A round of ours."""
        usage = Usage({**servers(), "worker": [self._worker.pid]})
        round = await self._load.round(count, among, in_flight)
        self.replies[name].append(round.replies)
        await self._note(name, round.rate)
        self.spent[name].append(usage.spent(count))

    async def pekko(self, name: str, count: int, among: int) -> None:
        """A round of Pekko's."""
        usage = Usage({**servers(), "worker": [self._pekko.pid]})
        await self._note(name, await self._pekko.round(count, among))
        self.spent[name].append(usage.spent(count))

    async def eventsourcing(self, name: str, count: int, among: int) -> None:
        """A round of eventsourcing's."""
        await self._note(name, await self._other.round(count, among))

    async def intake(self, name: str) -> None:
        """The first messages of our topic, counted."""
        rate, _ = await bare_intake(self._space, self._load.topic, min(INTAKE_COUNT, self._load.sent))
        await self._note(name, rate)

    async def _note(self, name: str, rate: float) -> None:
        self.rates[name].append(rate)
        say(f"{name}, round {len(self.rates[name])}: {rate:,.0f}/s")
        await self._store.rests()


async def measure_commands(count: int, orders: int, rounds: int) -> list[Row]:
    """Uniform over so many orders, then all to one."""
    async with (
        orders_worker(orders) as (space, load, running),
        pekko() as rival,
        eventsourcing(space.folder()) as other,
        cassandra() as store,
    ):
        contest = Contest(store, space, load, running, rival, other)
        for _ in range(PEKKO_WARM_UPS):
            await rival.round(WARM_UP, orders)
        await load.round(WARM_UP)
        await other.round(WARM_UP // 10, orders)
        for _ in range(rounds):
            await contest.ours("ours, open", count, orders)
            await contest.pekko("Pekko", count // SLOWER, orders)
            await contest.ours("ours, closed", count // SLOWER * 2, orders, IN_FLIGHT)
            await contest.eventsourcing("eventsourcing", count // SLOWER // 2, orders)
            await contest.intake("intake")
        for _ in range(rounds):
            await contest.ours("ours, open, hot", count // 2, 1)
            await contest.pekko("Pekko, hot", HOT_COUNT, 1)
            await contest.ours("ours, closed, hot", count // 2, 1, IN_FLIGHT)
            await contest.eventsourcing("eventsourcing, hot", HOT_COUNT * 2, 1)
    rates, spent, replies = contest.rates, contest.spent, contest.replies
    uniform, hot = f"{orders:,} orders, open load", "one hot order, open load"
    closed, hot_closed = f"{orders:,} orders, {IN_FLIGHT:,} in flight", f"one hot order, {IN_FLIGHT:,} in flight"
    return [
        Row(f"commands/s, {uniform}", rates["ours, open"], PEKKO, rates["Pekko"]),
        Row(f"commands/s, {closed}", rates["ours, closed"], PEKKO, rates["Pekko"]),
        Row(f"replies/s, {uniform}", replies["ours, open"], PEKKO, rates["Pekko"]),
        Row(f"replies/s, {closed}", replies["ours, closed"], PEKKO, rates["Pekko"]),
        Row(f"commands/s, {uniform}", rates["ours, open"], INTAKE, rates["intake"]),
        Row(f"commands/s, {uniform}", rates["ours, open"], EVENTSOURCING, rates["eventsourcing"]),
        Row(f"commands/s, {hot}", rates["ours, open, hot"], PEKKO, rates["Pekko, hot"]),
        Row(f"commands/s, {hot_closed}", rates["ours, closed, hot"], PEKKO, rates["Pekko, hot"]),
        Row(f"commands/s, {hot}", rates["ours, open, hot"], EVENTSOURCING, rates["eventsourcing, hot"]),
        *cost(uniform, spent["ours, open"], spent["Pekko"]),
        *cost(closed, spent["ours, closed"], spent["Pekko"]),
        *cost(hot, spent["ours, open, hot"], spent["Pekko, hot"]),
    ]


def cost(name: str, ours: Sequence[Spent], theirs: Sequence[Spent]) -> list[Row]:
    """CPU microseconds of each process, and of all that could be seen, beside Pekko's. No figure of a server that is
    not the project's own on this machine."""

    def of(spent: Sequence[Spent], process: str) -> list[float]:
        return [one.each[process] for one in spent]

    names: Mapping[str, str] = {"worker": "the worker", "Cassandra": "Cassandra", "Kafka": "Kafka"}
    rows = []
    for process in (process for process in names if process in ours[0].each):
        # An idle Kafka is no rival.
        rival = [] if process == "Kafka" else of(theirs, process)
        what = f"CPU us/command of {names[process]}, {name}"
        rows.append(Row(what, of(ours, process), PEKKO if rival else "", rival, less=True))
    if len(rows) > 1:
        together = [[spent.total for spent in side] for side in (ours, theirs)]
        rows.append(Row(f"CPU us/command, all of them, {name}", together[0], PEKKO, together[1], less=True))
    return rows


async def measure_growth(count: int, orders: int, rounds: int) -> list[Figure]:
    """Rounds of `count` commands: the rate of each, and the worker's memory after it."""
    figures: list[Figure] = []
    async with orders_worker(orders) as (_, load, running):
        figures.append(("memory of the worker before, MB", running.memory_mb()))
        for number in range(1, rounds + 1):
            rate, memory = (await load.round(count)).rate, running.memory_mb()
            say(f"after {count * number:,} commands: {rate:,.0f} commands/s, {memory:,.0f} MB")
            figures.append((f"commands/s, up to {count * number:,}", rate))
            figures.append((f"memory of the worker after {count * number:,} commands, MB", memory))
    return figures
