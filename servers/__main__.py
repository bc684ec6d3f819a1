"""The command line: up, down, status, logs, and `record` for `make start`."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from servers import control, process
from servers.kafka import BROKERS
from servers.where import DEFAULT_PORTS, HOST, NAMES, ServersError, Where, needed, used_instead, usual

WORKER_STOP_SECONDS = 30.0

HELP = """\
Runs Apache Kafka 4.1.1, Apache Cassandra 5.0.5, PostgreSQL and Apicurio Registry 3.0.9 on this machine, for
development and tests. The registry is started when it is asked for, or SCHEMA_REGISTRY_URL means it.

  python3 -m servers up               start them, return when they answer
  python3 -m servers up --all         the registry too, as the tests want it
  python3 -m servers up --needed      only what workers with this JOURNAL_URL need
  python3 -m servers up kafka         only one of them
  python3 -m servers up --brokers 3   Kafka as three brokers that are a cluster, with data of its own
  python3 -m servers status           what runs and answers
  python3 -m servers logs cassandra   the end of its log
  python3 -m servers down             stop what was started here, and the Faust workers of make start and make demo
"""
ENVIRONMENT = """\
environment:
  SERVERS_DIR      jars, data, logs and pids (default .servers); delete it to begin afresh
  KAFKA_PORT       default 9092; the port after it is used too, and of three brokers those 10 and 20 further on
  CASSANDRA_PORT   default 9042; 7000 is used too, or with another port the one after it
  POSTGRES_PORT    default 5433, since Debian starts a PostgreSQL of its own on 5432
  REGISTRY_PORT    default 8081; its URL is http://127.0.0.1:8081/apis/ccompat/v7, and it keeps nothing
  COMMITLOG_SYNC   periodic (default), group or batch: the last two acknowledge what is on the disk
  KAFKA_BROKERS, JOURNAL_URL, SCHEMA_REGISTRY_URL   when they point elsewhere, that server is not started
  JAVA_HOME        a Java from 17 to 23, else the one on PATH, else apt installs it

Java, Maven and PostgreSQL are installed with apt-get when they are missing; Maven fetches the jars, once. PostgreSQL
refuses to run as root: then it runs as the user postgres.
"""


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 a server failed, 3 (status only) something does not answer."""
    options = _parser().parse_args(arguments)
    try:
        where = Where.from_environment()
        names: list[str] = options.names or (list(NAMES) if options.all else usual())
        match options.action:
            case "up":
                return up(needed() if options.needed else names, where, options.brokers)
            case "down":
                return down(options.names or list(NAMES), where, workers=not options.names)
            case "status":
                servers = [(name, place) for name in names for place in control.places(name, where)]
                print(*(control.status(name, place) for name, place in servers), sep="\n")
                return 0 if all(control.is_ready(name, place) for name, place in servers) else 3
            case "logs":
                for log in [place.log(name) for name in names for place in control.places(name, where)]:
                    print(f"{log}:\n{process.last_lines(log, options.lines)}")
                return 0
            case _:
                return record(options.name, options.command, where)
    except ServersError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def up(names: list[str], where: Where, brokers: int | None = None) -> int:
    """Start them side by side; a failure of one does not hide the other's."""
    wanted = []
    for name in names:
        if instead := used_instead(name, where):
            print(f"{name}: using {instead}")
        else:
            wanted.append(name)
    servers = [(name, place) for name in wanted for place in control.places(name, where, brokers)]
    failed = 0
    with ThreadPoolExecutor(max_workers=len(servers) or 1) as pool:
        for attempt in [pool.submit(control.start, name, place, say=_say) for name, place in servers]:
            try:
                attempt.result()
            except ServersError as error:
                print(error, file=sys.stderr, flush=True)
                failed += 1
    if failed:
        return 1
    kafkas = [place.kafka_port for name, place in servers if name == "kafka"]
    if kafkas and kafkas != [DEFAULT_PORTS["kafka"]]:
        print(f"for the workers: KAFKA_BROKERS={';'.join(f'kafka://{HOST}:{port}' for port in kafkas)}")
    if "cassandra" in wanted and where.cassandra_port != DEFAULT_PORTS["cassandra"]:
        print(f"for the workers: JOURNAL_URL=cassandra://{HOST}:{where.cassandra_port}/shop")
    if "postgres" in wanted and not os.environ.get("JOURNAL_URL"):
        print(f"a journal in PostgreSQL: JOURNAL_URL=postgresql://shop@{HOST}:{where.postgres_port}/shop")
    if "registry" in wanted and not os.environ.get("SCHEMA_REGISTRY_URL"):
        print(f"events in the wire format of a registry: SCHEMA_REGISTRY_URL={where.registry_url}")
    return 0


def down(names: list[str], where: Where, *, workers: bool = True) -> int:
    """Stop the workers first, so that they can still commit the groups in work, then the servers."""
    # `start` and `demo` before `demo-orders` and the like: they stop their own workers, and would miss them.
    for pid_file in sorted(where.workers.glob("*.pid"), key=lambda file: "-" in file.stem) if workers else []:
        if process.running(pid_file):
            print(f"{pid_file.stem}: {process.terminate(pid_file, WORKER_STOP_SECONDS)}", flush=True)
        pid_file.unlink(missing_ok=True)
    servers = [(name, place) for name in names for place in control.places(name, where)]
    with ThreadPoolExecutor(max_workers=len(servers)) as pool:
        for (name, _), how in zip(servers, pool.map(lambda server: control.stop(*server), servers), strict=True):
            print(f"{name}: {how}", flush=True)
    return 0


def record(name: str, command: list[str], where: Where) -> int:
    """Note our pid where `down` looks for it, then become the command."""
    pid_file = where.workers / f"{name}.pid"
    if pid := process.running(pid_file):
        raise ServersError(f"it runs already (pid {pid}): `make down` stops it")
    process.record(pid_file, os.getpid())
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise ServersError(f"{command[0]}: {error.strerror}") from None


def _say(line: str) -> None:
    print(line, flush=True)


def _name(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"no server {text!r}: use {', '.join(NAMES[:-1])} or {NAMES[-1]}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "servers", description=HELP, epilog=ENVIRONMENT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="up|down|status|logs|record")
    for action, what in {
        "up": "start, and wait until they answer",
        "down": "stop what was started here",
        "status": "what runs and answers; exit status 3 when one does not",
        "logs": "the end of the logs",
    }.items():
        sub = actions.add_parser(action, help=what, description=what)
        sub.add_argument("names", nargs="*", type=_name, metavar="|".join(NAMES), help="default: those of `up`")
        sub.set_defaults(all=False)
        if action == "up":
            sub.add_argument("--all", action="store_true", help="all of them, the registry too")
            sub.add_argument("--needed", action="store_true", help="only what workers with this JOURNAL_URL need")
            sub.add_argument("--brokers", type=int, choices=(1, BROKERS), help="default: as many as run, or 1")
        if action == "logs":
            sub.add_argument("-n", "--lines", type=int, default=40, help="how many lines (default 40)")
    sub = actions.add_parser("record", help="run COMMAND so that `down` stops it too")
    sub.add_argument("name")
    sub.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    sub.set_defaults(names=[], all=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
