"""The parts of the bench. A new one is a line here: a name, what it measures, and a function of the options."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.bench.alarms import measure_alarms
from tests.bench.cold import measure_cold
from tests.bench.commands import measure_commands, measure_growth
from tests.bench.console import measure_console
from tests.bench.flat.claims import measure_flat
from tests.bench.gateway import measure_gateway
from tests.bench.idle_system import measure_idle_system
from tests.bench.memory import measure_memory
from tests.bench.metrics import measure_metrics
from tests.bench.model import measure_model
from tests.bench.ordinary import Plan, measure_ordinary
from tests.bench.report import Figure, Row
from tests.bench.sealing import measure_sealing
from tests.bench.secured import measure_secured
from tests.bench.serialization import measure_serialization
from tests.bench.sizes import measure_sizes
from tests.bench.starting import measure_starting
from tests.bench.steady import measure_steady
from tests.bench.tables import Sizes, measure_tables
from tests.bench.takeover import measure_takeover
from tests.bench.timers import measure_timers
from tests.bench.traces import measure_traces
from tests.bench.workers import measure_workers

Measured = Sequence[Row | Figure] | Sequence[Row] | Sequence[Figure]


@dataclass(frozen=True)
class Part:
    """One of them.

    measure  returns its rows, or plain figures. Whatever it raises fails this part alone
    minutes  that it takes with the options as they are by default, about; 0 for those that are run by name only
    """

    name: str
    what: str
    measure: Callable[[argparse.Namespace], Awaitable[Measured]]
    minutes: float = 0.0


async def _serialization(options: argparse.Namespace) -> Measured:
    return measure_serialization()


async def _sealing(options: argparse.Namespace) -> Measured:
    return await measure_sealing()


async def _tables(options: argparse.Namespace) -> Measured:
    sizes = Sizes(options.events or 100_000, options.orders, options.hot, options.rows, options.rounds, options.only)
    return await measure_tables(sizes)


PARTS = [
    Part(
        "commands",
        "commands/s to the durable journal, beside Pekko, eventsourcing and Faust's bare intake; what each costs whom",
        lambda o: measure_commands(o.count, o.orders, o.rounds),
        4,
    ),
    Part(
        "cold",
        "the same where there are a million orders, none of them in memory",
        lambda o: measure_cold(o.many or 1_000_000, o.cold, o.rounds),
        3,
    ),
    Part(
        "workers",
        "two and three workers, and where the machine ends it",
        lambda o: measure_workers(o.count, o.orders, 2),
        1,
    ),
    Part(
        "ordinary",
        "people who wait, 50 to 2,000 a second, and nobody: until reply and visible, and what it costs, beside Pekko",
        lambda o: measure_ordinary(Plan(o.rates, o.seconds, o.idle, o.rounds, o.alone)),
        13,
    ),
    Part("model", "what a command costs whom, by how many share a commit", lambda o: measure_model(o.orders), 2),
    Part("sizes", "bytes of an event in Cassandra, Kafka and RocksDB", lambda o: measure_sizes(o.count, o.orders), 1),
    Part("memory", "memory of a worker, and of 100,000 aggregates", lambda o: measure_memory(3), 1),
    Part("start", "from the start of a worker to its first answer", lambda o: measure_starting(o.count, o.rounds), 1),
    Part("takeover", "partitions that change hands", lambda o: measure_takeover(o.kills, o.times), 2),
    Part("tables", "the read side: tail, tables beside a stock Faust table, rebuild, what rows take", _tables, 6),
    Part(
        "idle",
        "the whole shop while nobody wants anything of it, with few partitions and with many",
        lambda o: measure_idle_system(o.partitions, o.rounds, o.idle),
    ),
    Part(
        "secured",
        "what TLS and a login cost: commands/s beside those in the clear, over one broker",
        lambda o: measure_secured(o.count, o.orders, o.rounds),
    ),
    Part("steady", "ten minutes at 500 commands/s, and the longest pauses", lambda o: measure_steady()),
    Part(
        "alarms",
        "workers taken for dead that are only slow, where the machine has too much to do",
        lambda o: measure_alarms(o.minutes, o.busy),
    ),
    Part("flat", "what does not grow with the journal, with plots", lambda o: measure_flat()),
    Part(
        "console",
        "the console: its pages, the routes that it asks, and a worker that ten people look at",
        lambda o: measure_console(o.many or 100_000, o.events or 1_000_000, o.seconds),
    ),
    Part("metrics", "what counting costs a command", lambda o: measure_metrics()),
    Part("traces", "what spans cost a command: of none, of one in a hundred, of all", lambda o: measure_traces()),
    Part("sealing", "events with personal fields: sealed to bytes, and opened again", _sealing),
    Part("serialization", "events to bytes and back, beside fastavro alone", _serialization),
    Part("gateway", "commands over HTTP, 1 and 50 clients", lambda o: measure_gateway(o.count // 10, o.rounds)),
    Part("timers", "how late timers fire", lambda o: measure_timers(o.timers, o.pending)),
    Part(
        "growth",
        "rate and memory of one worker, round after round",
        lambda o: measure_growth(o.count, o.orders, o.rounds),
    ),
]
