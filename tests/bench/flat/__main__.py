"""`python -m tests.bench.flat`: whether costs stay as they are while the journal grows. Prints a table, and writes a
plot of each claim into tests/bench/results/. About 5 minutes; a minute with --quick."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from pathlib import Path

from tests.bench.flat.claims import CLAIMS, FULL, QUICK, measure_flat
from tests.bench.report import RESULTS, as_rows, table


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.flat",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="claims:\n"
        "  loading   an aggregate of any number of events is loaded by the same reads\n"
        "  logs      takeover and tail are the same at the end of a log of any length\n"
        "  crowd     memory of a worker, and latency of commands, with a thousand aggregates and with a million\n\n"
        "examples:\n"
        "  python -m tests.bench.flat\n"
        "  python -m tests.bench.flat --quick --only logs --folder /tmp/plots",
    )
    parser.add_argument("--only", nargs="+", choices=CLAIMS, default=CLAIMS, help="some of the claims (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, to try it")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the plots go (default: %(default)s)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # owners say at each change of hands that they took over
    load = os.getloadavg()[0]
    figures = asyncio.run(measure_flat(QUICK if options.quick else FULL, options.only, options.folder))
    print("\n".join([f"load of the machine at the start: {load:.2f}", "", *table(as_rows(figures))]))


if __name__ == "__main__":
    main()
