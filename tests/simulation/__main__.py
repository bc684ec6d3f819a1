"""`python -m tests.simulation`: many seeds, one seed with its trace, or the deliberate breakages."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.simulation.breakages import BREAKAGES
from tests.simulation.runner import Found, hunt, note_seeds, noted_seeds, simulate, traced

HELP = """\
Runs the product's own owners, tailers and appliers in a simulated world, where time, scheduling, Kafka,
the store's network and all faults come from one seed. See docs/simulation.md.

  python -m tests.simulation --seeds 10000            as many schedules as you like, on all cores
  python -m tests.simulation --seed 4711 --trace      one of them again, exactly, and what happened in it
  python -m tests.simulation --breakages              break the product on purpose, in many ways, and find each
  python -m tests.simulation --breakage 'reply before the commit' --seed 0 --trace
                                                      look at a broken product failing
"""
SHOWN = 10
"""Failures that are printed in full; more of them say no more."""


def main() -> int:
    """Returns 0 when all held, 1 when an invariant broke or a breakage was not found."""
    parser = argparse.ArgumentParser(
        "python -m tests.simulation", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2_000, metavar="N", help="how many schedules (default 2000)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print all that happened")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: cores)")
    parser.add_argument("--breakages", action="store_true", help="find all deliberate breakages")
    parser.add_argument(
        "--note",
        action="store_true",
        help="with --breakages: look first with what has found each, and note what does now, for `make test`",
    )
    parser.add_argument("--breakage", default="", choices=["", *BREAKAGES], metavar="NAME", help="this one")
    options = parser.parse_args()
    if options.seed is not None:
        return _one(options.seed, options.breakage, options.trace)
    if options.breakages or options.breakage:
        names = [options.breakage] if options.breakage else list(BREAKAGES)
        return _breakages(options.seeds, options.jobs, names, options.note)
    return _many(range(options.first, options.first + options.seeds), options.jobs)


def _one(seed: int, breakage: str, trace: bool) -> int:
    result, lines = traced(seed, breakage)
    if trace:
        print("\n".join(lines))
    if result.invariant:
        print(f"seed {seed}: BROKEN: {result.invariant}: {result.text}")
        return 1
    print(f"seed {seed}: all held, {result.steps} steps, digest {result.digest[:16]}")
    return 0


def _many(seeds: range, jobs: int) -> int:
    console, broken, steps = Console(), Counter[str](), 0
    with _progress(console) as progress:
        task = progress.add_task("schedules", total=len(seeds))
        for result in simulate(seeds, jobs):
            progress.advance(task)
            steps += result.steps
            if result.invariant:
                broken[result.invariant] += 1
                if broken.total() <= SHOWN:
                    console.print(explain(result.seed, result.invariant, result.text), markup=False, highlight=False)
    found = ", ".join(f"{count} x {invariant}" for invariant, count in broken.most_common())
    console.print(f"{len(seeds)} schedules, {steps / len(seeds):.0f} steps each: {found or 'all invariants held'}")
    return 1 if broken else 0


def explain(seed: int, invariant: str, text: str) -> str:
    """What a failing seed prints: which, what broke, and how to see it again."""
    return (
        f"seed {seed}: BROKEN: {invariant}: {text[:600]}\n"
        f"    again, exactly: python -m tests.simulation --seed {seed} --trace"
    )


def _breakages(most: int, jobs: int, names: list[str], note: bool) -> int:
    console = Console()
    with _progress(console) as progress:
        task = progress.add_task("breakages", total=len(names))
        results = []
        for found in hunt(most, jobs, names, noted_seeds() if note else None):
            results.append(found)
            progress.advance(task)
    console.print(breakage_table(results, most))
    if note:
        note_seeds(results)
    return 1 if any(found.seed is None for found in results) else 0


def breakage_table(results: list[Found], most: int) -> Table:
    """Each breakage, the seed that found it, and the invariant that did."""
    table = Table("breakage", "seed", "found by", title="The product broken on purpose")
    for found in sorted(results, key=lambda found: (most if found.seed is None else found.seed, found.breakage)):
        table.add_row(found.breakage, f"not in {most}" if found.seed is None else str(found.seed), found.invariant)
    return table


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console)


def run() -> NoReturn:
    """The command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
