"""`make demo`: servers, workers, a month of sales replayed, the answers; then it serves until Ctrl-C.

Where no Java is to be had, and with `--without-servers`, one process is all of that."""

from __future__ import annotations

import argparse
import calendar
import csv
import gzip
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from examples.demo import answers, without_servers
from servers import process, tools, workers
from servers.__main__ import up
from servers.where import ServersError, Where, needed

APP = "projections.shop.app"
DAYS = 31


class First(NamedTuple):
    """The first sale of a file that counts: to show it, and to know the month."""

    invoice: str
    day: date

    @property
    def end_of_month(self) -> date:
        return self.day.replace(day=calendar.monthrange(self.day.year, self.day.month)[1])


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when all was replayed and every question answered."""
    parser = argparse.ArgumentParser("examples.demo", description=__doc__)
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help='an "Online Retail" CSV, plain or .gz; else generated'
    )
    parser.add_argument("--all", action="store_true", help="replay the whole file, not only its first month")
    parser.add_argument("--once", action="store_true", help="stop after the answers")
    parser.add_argument(
        "--without-servers", action="store_true", help="all in one process, without Kafka and Cassandra: no Java"
    )
    options = parser.parse_args(arguments)
    # Both end it the same way, in the background too, where a shell has SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return run(options.data, whole=options.all, once=options.once, alone=options.without_servers)
    except ServersError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run(data: Path | None, *, whole: bool, once: bool, alone: bool = False) -> int:
    """The demo from begin to end; whatever happens, the workers are stopped. `alone`: without servers."""
    console = Console()
    where = Where.from_environment()
    alone = alone or not _has_java(console)
    # Invented and real sales apart, so that the revenue of a month is that of one file.
    data_dir, namespace = (".data/demo", "demo_") if data is None else (".data/demo-data", "demo_data_")
    if alone:
        console.print(without_servers.LEFT_OUT, highlight=False)
        folder = Path(f"{data_dir}-without-servers")
        alone_in = without_servers.places(folder)
        of_team = without_servers.environment_for(alone_in, os.environ)
        environment = of_team | alone_in.settings(of_team)
    else:
        of_team = environment = workers.environment_for(where, os.environ, DATA_DIR=data_dir, NAMESPACE=namespace)
        folder = Path(environment["DATA_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    if data is not None and not data.is_file():
        raise ServersError(f"{data}: no such file")
    me = where.workers / "demo.pid"
    if pid := process.running(me):
        raise ServersError(f"a demo runs already (pid {pid}): `make down` stops it")
    process.record(me, os.getpid())

    logs = folder / "logs"
    if alone:
        team = without_servers.team(alone_in, logs, where.workers)
    else:
        team = workers.from_procfile(Path("Procfile").read_text(), logs, where.workers, "demo-")
    try:
        if not alone and up(needed(), where) != 0:
            return 1
        console.print(f"starting {len(team)} worker{'s' if team[1:] else ''}, logs in {logs}", highlight=False)
        workers.start(team, of_team)
        workers.wait_ready(team, say=lambda line: console.print(line, highlight=False))
        file = data or _generated(folder, environment)
        console.print(f"sales: {file}{'' if data else ', generated'}", highlight=False, soft_wrap=True)
        first = first_sale(file)
        until = [] if whole else ["--until", first.end_of_month.isoformat()]
        door = next(worker for worker in team if worker.name == "projections").url
        _faust(["replay", str(file), "--confirmed", "--url", door, *until], environment)
        workers.check_alive(team)
        complete = answers.show_all(door, first.invoice, console)
        console.print(f"\nAsk for more at {door}: what there is, the README says.", highlight=False, soft_wrap=True)
        if not once:
            console.print("The workers go on until Ctrl-C.", highlight=False)
            while True:
                workers.check_alive(team)
                time.sleep(1)
        return 0 if complete else 1
    except KeyboardInterrupt:
        return 0
    finally:
        _leave(team, me, console, "" if alone else "The servers go on; `make down` stops them.")


def _has_java(console: Console) -> bool:
    """Whether the servers that the demo starts can run here; what is missing is installed where that is possible."""
    if not {"kafka", "cassandra"} & set(needed()):
        return True
    try:
        tools.java()
    except ServersError as error:
        console.print(f"{error}", highlight=False, soft_wrap=True)
        return False
    return True


def first_sale(file: Path) -> First:
    """The first row with a customer, a price, and an invoice that is no credit. Raises `ServersError`."""
    try:
        with file.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with io.TextIOWrapper(gzip.open(raw) if zipped else raw, "latin-1", newline="") as text:
                for row in csv.DictReader(text):
                    sale = not row["InvoiceNo"].startswith("C") and float(row["Quantity"]) > 0
                    if sale and row["CustomerID"] and float(row["UnitPrice"]) > 0:
                        return First(row["InvoiceNo"], date.fromisoformat(row["InvoiceDate"][:10]))
    except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise ServersError(f"{file}: can not be read as an Online Retail CSV ({error!r})") from None
    raise ServersError(f"{file}: holds no sale")


def _generated(folder: Path, environment: Mapping[str, str]) -> Path:
    file = folder / "sales.csv.gz"
    _faust(["generate-sales", str(file), "--days", str(DAYS)], environment)
    return file


def _faust(arguments: list[str], environment: Mapping[str, str]) -> None:
    """Run a command of the app in the foreground. Raises `ServersError` when it fails."""
    print(f"$ faust -A {APP} {' '.join(arguments)}", flush=True)
    code = subprocess.run(
        [sys.executable, "-m", "faust", "-A", APP, *arguments], env=environment, check=False
    ).returncode
    if code != 0:
        raise ServersError(f"`faust -A {APP} {arguments[0]}` ended with exit status {code}")


def _leave(team: list[workers.Worker], me: Path, console: Console, parting: str) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave workers behind
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for name, how in workers.stop(team).items():
        if how != "was not running":
            console.print(f"{name}: {how}", highlight=False)
    me.unlink(missing_ok=True)
    if parting:
        console.print(parting, highlight=False)
    signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())
