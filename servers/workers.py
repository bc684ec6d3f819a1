"""The Faust workers of the Procfile as child processes: for the demo, and for tests that need the whole system."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from servers import http, process
from servers.where import DEFAULT_PORTS, HOST, ServersError, Where

READY_SECONDS = 90.0
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Worker:
    """One line of the Procfile, and where its output and pid go."""

    name: str
    command: str
    port: int
    log: Path
    pid_file: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def from_procfile(text: str, logs: Path, pids: Path, prefix: str) -> list[Worker]:
    """The workers named there; each must say its `--web-port`. Raises `ServersError`."""
    workers = []
    for line in text.splitlines():
        name, colon, command = line.partition(":")
        if not colon or line.startswith("#"):
            continue
        port = re.search(r"--web-port[ =](\d+)", command)
        if port is None:
            raise ServersError(f"Procfile: {name} has no --web-port")
        workers.append(Worker(name, command.strip(), int(port[1]), logs / f"{name}.log", pids / f"{prefix}{name}.pid"))
    return workers


def environment_for(where: Where, environment: Mapping[str, str], **defaults: str) -> dict[str, str]:
    """The environment of the workers: the user's settings, else our servers on other ports, else `defaults`."""
    ours = dict(defaults)
    if where.kafka_port != DEFAULT_PORTS["kafka"]:
        ours["KAFKA_BROKERS"] = f"kafka://{HOST}:{where.kafka_port}"
    if where.cassandra_port != DEFAULT_PORTS["cassandra"]:
        ours["JOURNAL_URL"] = f"cassandra://{HOST}:{where.cassandra_port}/shop"
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    return {**ours, **{name: value for name, value in environment.items() if value}, "PATH": path}


def start(workers: Iterable[Worker], environment: Mapping[str, str]) -> None:
    """Start them all, each with an empty log. Raises `ServersError` when a port is in use."""
    workers = list(workers)
    for worker in workers:
        with socket.socket() as taken:
            if taken.connect_ex((HOST, worker.port)) == 0:
                raise ServersError(
                    f"{worker.name}: port {worker.port} is in use. Workers of make start or of another demo? "
                    f"`make down` stops them"
                )
    shell = shutil.which("sh") or "/bin/sh"
    for worker in workers:
        worker.log.unlink(missing_ok=True)
        process.spawn([shell, "-c", f"exec {worker.command}"], worker.log, worker.pid_file, environment)


def wait_ready(
    workers: Iterable[Worker], seconds: float = READY_SECONDS, say: Callable[[str], None] = lambda line: None
) -> None:
    """Return when each answers 200 at /health/ready. Raises `ServersError` with the log of one that fails."""
    began, waiting = time.monotonic(), list(workers)
    while waiting:
        for worker in list(waiting):
            if http.status(f"{worker.url}/health/ready") == 200:
                waiting.remove(worker)
                say(f"{worker.name}: ready at {worker.url} after {time.monotonic() - began:.1f} s")
        check_alive(waiting)
        if waiting and time.monotonic() - began > seconds:
            raise _failed(waiting[0], f"is not ready after {seconds:g} s")
        time.sleep(0.2 if waiting else 0)


def check_alive(workers: Iterable[Worker]) -> None:
    """Raises `ServersError` with the end of the log of a worker that has ended."""
    for worker in workers:
        if process.running(worker.pid_file) is None:
            raise _failed(worker, "has ended")


def stop(workers: Iterable[Worker], seconds: float = STOP_SECONDS) -> dict[str, str]:
    """Send SIGTERM to all at once, and SIGKILL to those that are left after `seconds`. Returns the outcomes by name."""
    workers = list(workers)
    with ThreadPoolExecutor(max_workers=max(1, len(workers))) as pool:
        how = pool.map(lambda worker: process.terminate(worker.pid_file, seconds), workers)
        return {worker.name: text for worker, text in zip(workers, how, strict=True)}


def _failed(worker: Worker, why: str) -> ServersError:
    return ServersError(f"{worker.name}: {why}. The end of {worker.log}:\n{process.last_lines(worker.log)}")
