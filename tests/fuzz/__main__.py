"""`python -m tests.fuzz`: the search for as long as you like, on all cores."""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

from tests.fuzz.readers import READERS
from tests.fuzz.runner import found

EXAMPLES = 1_000
"""Of one reader from one seed."""
SHOWN = 3_000
"""Characters of what is found, of its end."""

Job = tuple[str, int]


def main() -> int:
    """Returns 1 when a reader has raised what it must not."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="how long (default 10)")
    parser.add_argument("--only", default="", metavar="NAME", choices=["", *_names()], help="this reader alone")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: cores)")
    options = parser.parse_args()
    names = [options.only] if options.only else _names()
    bad: set[str] = set()
    until, count = time.monotonic() + 60 * options.minutes, 0
    for (name, seed), text in _search(names, options.first, options.jobs, until):
        count += EXAMPLES
        if text and name not in bad:
            bad.add(name)
            print(f"--- {name}, seed {seed}\n{text[-SHOWN:]}", flush=True)
    print(f"{len(names)} readers, about {count} inputs: {'found: ' + ', '.join(sorted(bad)) if bad else 'all held'}")
    return 1 if bad else 0


def _names() -> list[str]:
    return [reader.name for reader in READERS]


def _search(names: list[str], first: int, jobs: int, until: float) -> Iterator[tuple[Job, str]]:
    """Each reader in turn, with one seed after another, until the time is up; one that has failed is left out."""
    left = ((name, seed) for seed in itertools.count(first) for name in names)
    failed: set[str] = set()
    running: dict[Future[str], Job] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare) as pool:
        while True:
            while len(running) < jobs and time.monotonic() < until and len(failed) < len(names):
                name, seed = next(left)
                if name not in failed:
                    running[pool.submit(_job, name, seed)] = name, seed
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                job, text = running.pop(done), done.result()
                if text:
                    failed.add(job[0])
                yield job, text


def _job(name: str, seed: int) -> str:
    [reader] = [reader for reader in READERS if reader.name == name]
    return found(reader, seed, EXAMPLES)


def _prepare() -> None:
    logging.disable(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
