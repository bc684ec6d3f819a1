"""`python -m tests.fuzz`: the search for as long as you like, on all cores."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.fuzz.readers import READERS
from tests.fuzz.runner import EXAMPLES, search

SHOWN = 3_000
"""Characters of what is found, of its end."""


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
    for (name, seed), text in search(names, options.first, options.jobs, until):
        count += EXAMPLES
        if text and name not in bad:
            bad.add(name)
            print(f"--- {name}, seed {seed}\n{text[-SHOWN:]}", flush=True)
    print(f"{len(names)} readers, about {count} inputs: {'found: ' + ', '.join(sorted(bad)) if bad else 'all held'}")
    return 1 if bad else 0


def _names() -> list[str]:
    return [reader.name for reader in READERS]


if __name__ == "__main__":
    sys.exit(main())
