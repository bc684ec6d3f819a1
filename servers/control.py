"""Start, stop and watch one server. Tests use these functions as the command line does."""

from __future__ import annotations

import fcntl
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import cassandra, kafka, postgres, process, registry, tools
from servers.probe import Answer, probe
from servers.where import CLIENT, PRODUCTS, ServersError, Where

START_SECONDS = 120.0
STOP_SECONDS = 30.0

_JAVA_COMMANDS = {"kafka": kafka.command, "cassandra": cassandra.command, "registry": registry.command}
_STOP_SIGNALS = {"postgres": signal.SIGINT}
"""SIGTERM but where it would wait for the last client to leave."""


def places(name: str, where: Where, brokers: int | None = None) -> list[Where]:
    """Where the servers of this name are: there is one, but for the brokers of Kafka, who are so many, or as many as
    run. Raises `ServersError` where others run than those that are asked for."""
    if name != "kafka":
        return [where]
    alone, cluster = [where], kafka.cluster(where)
    running = next((found for found in (alone, cluster) if any(process.running(w.pid_file(name)) for w in found)), None)
    wanted = {None: running or alone, len(alone): alone, len(cluster): cluster}[brokers]
    if running and running != wanted:
        raise ServersError(f"kafka: {len(running)} broker(s) run, not {brokers}: `make down` stops them")
    return wanted


def start(
    name: str, where: Where | None = None, seconds: float = START_SECONDS, say: Callable[[str], None] = print
) -> None:
    """Return when the server answers: at once when it did before. Raises `ServersError` when it does not in time."""
    where = where or Where.from_environment()
    with _only_one(where.folder(name), "lock"):
        port, log, pid_file = where.port(name), where.log(name), where.pid_file(name)
        answer = _probe(name, where)
        began, address = time.monotonic(), f"{where.host}:{port}"
        if answer is Answer.READY:
            return say(f"{name}: answers on {address} already")
        if process.running(pid_file) is None:
            if answer is not Answer.CLOSED:
                raise ServersError(
                    f"{name}: port {port} is taken by something that does not answer as {PRODUCTS[name]}. "
                    f"Stop it, or set {name.upper()}_PORT to a free port"
                )
            command = _command(name, where)
            began = time.monotonic()
            process.spawn(command, log, pid_file)
        say(f"{name}: starting")
        _wait(name, where, began + seconds)
        say(f"{name}: answers on {address} after {time.monotonic() - began:.1f} s")


def stop(name: str, where: Where | None = None, seconds: float = STOP_SECONDS) -> str:
    """Ask the server started here to end, with SIGKILL after `seconds`. Returns the outcome, for people."""
    where = where or Where.from_environment()
    how = process.terminate(where.pid_file(name), seconds, _STOP_SIGNALS.get(name, signal.SIGTERM))
    if how == "was not running" and _probe(name, where) is not Answer.CLOSED:
        return f"port {where.port(name)} is in use, but by nothing that was started here; left alone"
    return how


def kill(name: str, where: Where | None = None) -> bool:
    """SIGKILL, as a crash would; False when the server was not running."""
    return process.kill((where or Where.from_environment()).pid_file(name))


def is_ready(name: str, where: Where | None = None) -> bool:
    """Whether the server answers in its own protocol now."""
    return _probe(name, where or Where.from_environment()) is Answer.READY


def status(name: str, where: Where) -> str:
    """One line: pid, address, state."""
    pid = process.running(where.pid_file(name))
    who = f"pid {pid}" if pid else "not started here"
    return f"{name}: {who}, {where.host}:{where.port(name)} {_probe(name, where).value}"


def _command(name: str, where: Where) -> list[str | Path]:
    """The command that starts a server, once all that it needs is there."""
    if name == "postgres":
        return postgres.command(where, tools.postgres(where.folder(name) / "data"))
    java = tools.java()
    with _only_one(where.jars_of(name), "libs.lock"):
        libs = tools.fetch(name, where.jars_of(name))
    return _JAVA_COMMANDS[name](where, java, libs)


def _probe(name: str, where: Where) -> Answer:
    secured = where.certificates if name in ("cassandra", "postgres") else None
    shown = secured / f"{CLIENT}.pem" if secured is not None else None
    return probe(name, where.port(name), host=where.host, tls=shown)


def _wait(name: str, where: Where, deadline: float) -> None:
    pid_file, log = where.pid_file(name), where.log(name)
    while _probe(name, where) is not Answer.READY:
        dead = process.running(pid_file) is None
        if dead or time.monotonic() > deadline:
            why = "ended before it answered" if dead else "does not answer in time"
            raise ServersError(f"{name}: {why}. The end of {log}:\n{process.last_lines(log)}")
        time.sleep(0.1)


@contextmanager
def _only_one(folder: Path, name: str) -> Iterator[None]:
    """Two `up` at the same time: the second waits, then finds the server answering, or the jars."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
