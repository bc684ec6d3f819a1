"""`python -m tests.bench`: how fast it is here, beside its rivals, part by part.

Without a name all parts run that have minutes, in turn; the table is printed, and stored in tests/bench/results/. With
the name of a part that one runs, and is stored with --keep. A part that fails is said to have failed, the others go on,
and the exit code is 1. Nothing else should run on the machine: the load at the start is in the result.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.bench.parts import PARTS, Part
from tests.bench.report import Row, as_rows, machine, store, table
from tests.bench.tables import PARTS as TABLES
from tests.bench.worker import say

SUITE = [part for part in PARTS if part.minutes]
EXPLAINED = (
    "`ours`, `its`: medians of the rounds, which were run in turn. `ratio`: how many times better ours is, also where "
    "less is better. `to its best`: our median to the rival's best round. What a rate is: "
    "[load.py](../load.py), [commands.py](../commands.py)."
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    names = "\n".join(
        f"  {part.name:14} {part.what}" + (f" ({part.minutes:g} min)" if part.minutes else " (by name only)")
        for part in PARTS
    )
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"parts:\n{names}\n\nexamples:\n"
        "  python -m tests.bench                               all of it\n"
        "  python -m tests.bench commands --rounds 5 --keep    one part, more rounds, stored\n"
        "  python -m tests.bench ordinary --rates 50 500 --rounds 1 --idle 10 --alone    in a minute or two\n"
        "  PARTITIONS=2 python -m tests.bench ordinary --keep  with another setting of the workers\n"
        "  python -m tests.bench tables --only apply --events 500000",
    )
    parser.add_argument("what", nargs="?", choices=[part.name for part in PARTS], help="one part (default: all)")
    parser.add_argument("--count", type=int, default=100_000, help="commands a round (default 100000)")
    parser.add_argument("--orders", type=int, default=5_000, help="orders they go to, at random (default 5000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each, in turn (default 3)")
    parser.add_argument(
        "--many", type=int, help="cold, console: orders that there are (default 1000000; of the console 100000)"
    )
    parser.add_argument("--cold", type=int, default=20_000, help="cold: commands a round (default 20000)")
    parser.add_argument("--kills", type=int, default=10, help="takeover: workers killed with kill -9 (default 10)")
    parser.add_argument("--times", type=int, default=2, help="takeover: other changes of hands, of each (default 2)")
    parser.add_argument("--minutes", type=float, default=10.0, help="alarms: for so long (default 10)")
    parser.add_argument("--busy", type=int, default=10, help="alarms: processes that are busy beside (default 10)")
    parser.add_argument(
        "--events", type=int, help="tables, console: events to apply (default 100000; of the console 1000000)"
    )
    parser.add_argument("--hot", type=int, default=50, help="tables: orders when they are hot (default 50)")
    parser.add_argument("--rows", type=int, default=50_000, help="tables: rows to weigh (default 50000)")
    some = ["apply", "rebuild", "rows"]
    parser.add_argument(
        "--only", nargs="+", choices=TABLES, default=some, help=f"tables: some of it (default {' '.join(some)})"
    )
    parser.add_argument(
        "--rates",
        type=int,
        nargs="+",
        default=[50, 500, 2_000],
        help="ordinary: commands a second (default 50 500 2000)",
    )
    parser.add_argument(
        "--seconds",
        type=int,
        default=20,
        help="ordinary: at each rate, a round; console: of each look (default 20)",
    )
    parser.add_argument(
        "--idle", type=int, default=30, help="ordinary, idle: seconds without commands, a round (default 30)"
    )
    parser.add_argument(
        "--partitions", type=int, nargs="+", default=[8, 32], help="idle: PARTITIONS, in turn (default 8 32)"
    )
    parser.add_argument("--alone", action="store_true", help="ordinary: without the rival")
    parser.add_argument("--timers", type=int, default=1_000, help="timers: that fire (default 1000)")
    parser.add_argument("--pending", type=int, default=10_000, help="timers: that wait (default 10000)")
    parser.add_argument("--keep", action="store_true", help="store the results of one part too")
    return parser.parse_args(arguments)


def main() -> int:
    """Run, print, store. The exit code: 1 when a part failed."""
    options = parse()
    parts = [part for part in PARTS if part.name == options.what] or SUITE
    began, load, now = time.monotonic(), os.getloadavg()[0], datetime.now(UTC)
    failed: list[str] = []
    sections = [line for part in _in_turn(parts) for line in _section(part, options, failed)]
    title = "the bench" if len(parts) > 1 else parts[0].what
    minutes = f"{(time.monotonic() - began) / 60:.0f} minutes"
    lines = [
        f"# {now:%Y-%m-%d %H:%M} UTC: {title}",
        "",
        f"{machine()}",
        f"Load of the machine at the start {load:.2f}. {minutes}; rounds of {options.count:,} commands.",
        "",
        EXPLAINED,
        *sections,
    ]
    print("\n".join(lines))
    if options.what is None or options.keep:
        say(f"stored in {os.path.relpath(store(lines, now))}")
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _in_turn(parts: Sequence[Part]) -> Iterator[Part]:
    """The parts, one after another, and how far this is."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    minutes = sum(part.minutes for part in parts)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("bench", total=minutes or None)
        for number, part in enumerate(parts, 1):
            about = f", about {part.minutes:g} min" if part.minutes else ""
            bar.update(task, description=f"{number}/{len(parts)} {part.name}")
            say(f"[{number}/{len(parts)}] {part.name}: {part.what}{about}")
            yield part
            bar.advance(task, part.minutes)


def _section(part: Part, options: argparse.Namespace, failed: list[str]) -> list[str]:
    """Its lines of the result."""
    began = time.monotonic()
    head = ["", f"## {part.name}: {part.what}", ""]

    async def measure() -> list[Row]:
        return as_rows(await part.measure(options))

    try:
        rows = asyncio.run(measure())
    except Exception as error:
        traceback.print_exc()
        failed.append(part.name)
        return [*head, f"**Failed**: `{type(error).__name__}: {str(error).partition(chr(10))[0]}`"]
    if any(math.isnan(figure) for row in rows for figure in row.ours):
        failed.append(part.name)  # some of it
    say(f"{part.name}: {time.monotonic() - began:.0f} s")
    return [*head, *table(rows)]


if __name__ == "__main__":
    sys.exit(main())
