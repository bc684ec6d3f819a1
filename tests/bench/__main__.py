"""`python -m tests.bench`: prints the measurements, and stores them in tests/bench/results/ with --keep."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.bench.commands import measure, measure_memory
from tests.bench.gateway import measure_gateway
from tests.bench.serialization import measure_serialization
from tests.bench.tables import PARTS, Sizes, measure_tables
from tests.bench.takeover import measure_takeover

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("faust-streaming", "aiokafka", "cassandra-driver", "fastavro", "msgspec")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    kinds = ["commands", "takeover", "serialization", "tables", "gateway"]
    parser.add_argument("what", nargs="?", choices=kinds, default="commands")
    parser.add_argument("--times", type=int, default=10, help="takeover: changes of hands of each kind (default 10)")
    parser.add_argument("--count", type=int, default=40_000, help="commands a round (default 40000)")
    parser.add_argument("--orders", type=int, default=5_000, help="orders they go to, at random (default 5000)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each, in turn; the best counts (default 2)")
    parser.add_argument("--events", type=int, default=100_000, help="tables: events to apply (default 100000)")
    parser.add_argument("--hot", type=int, default=50, help="tables: orders when they are hot (default 50)")
    parser.add_argument("--rows", type=int, default=100_000, help="tables: rows to weigh (default 100000)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="tables: some of it (default all)")
    parser.add_argument("--keep", action="store_true", help="store the results in tests/bench/results/")
    parser.add_argument("--memory", action="store_true", help="ours only: rate and memory after each round")
    options = parser.parse_args()
    if options.what == "takeover":
        title = f"a worker of two goes or joins, {options.times} times in each way, 80 commands/s"
        results = asyncio.run(measure_takeover(options.times))
    elif options.what == "serialization":
        title = "events to bytes and back, ours and fastavro alone in turn"
        results = measure_serialization()
    elif options.what == "gateway":
        title = f"commands over HTTP, {options.rounds} rounds of {options.count:,}"
        results = asyncio.run(measure_gateway(options.count, options.rounds))
    elif options.what == "tables":
        sizes = Sizes(options.events, options.orders, options.hot, options.rows, options.rounds, options.only)
        title = f"the read side, {options.rounds} rounds of {options.events:,} events, {', '.join(options.only)}"
        results = asyncio.run(measure_tables(sizes))
    else:
        title = f"{options.rounds} rounds of {options.count:,} commands to {options.orders:,} orders"
        measurement = measure_memory if options.memory else measure
        results = asyncio.run(measurement(options.count, options.orders, options.rounds))
    now = datetime.now(UTC)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [
        f"# {now:%Y-%m-%d}: {title}",
        "",
        f"{machine}; CPython {platform.python_version()}; {versions}; servers on the same machine.",
        "",
        "| what | figure |",
        "|---|---|",
        *(f"| {what} | {figure:,.2f} |" if figure < 10 else f"| {what} | {figure:,.0f} |" for what, figure in results),
    ]
    print("\n".join(lines))
    if options.keep:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{now:%Y-%m-%d-%H%M}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
