"""Servers for faults: started for these tests alone, so that they may be stopped, killed and paused."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import shutil
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from servers import cassandra, control, process
from servers.where import HOST, Where

PORTS = range(20_000, 30_000)
"""Below those that the kernel gives to clients: a client of a server that is down would find itself there."""


class Server:
    """One server and what can happen to it."""

    def __init__(self, name: str, where: Where) -> None:
        self.name = name
        self.where = where

    @property
    def address(self) -> str:
        return f"{self.where.host}:{self.where.port(self.name)}"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        await asyncio.to_thread(control.start, self.name, self.where, 180.0, lambda line: None)

    async def stop(self) -> None:
        """SIGTERM, and wait until it has ended."""
        await asyncio.to_thread(control.stop, self.name, self.where)

    async def kill(self) -> None:
        """SIGKILL."""
        assert await asyncio.to_thread(control.kill, self.name, self.where)

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        pid = process.running(self.where.pid_file(self.name))
        assert pid is not None, f"{self.name} at {self.address} does not run"
        os.kill(pid, number)

    def end(self) -> None:
        """Kill it if it runs; its data are of no use any more."""
        control.kill(self.name, self.where)


@contextmanager
def own_servers() -> Iterator[tuple[Server, Server, list[Server]]]:
    """Kafka, a Cassandra alone and three Cassandra nodes, none of them started; all are ended on the way out."""
    with own_folder("chaos") as where:
        where = replace(where, commitlog_sync="batch", kafka_port=server_port(1), cassandra_port=server_port(1))
        nodes = [Server("cassandra", node) for node in cassandra.nodes(replace(where, cassandra_port=server_port(1)))]
        one = Server("kafka", where), Server("cassandra", where)
        with ended([*one, *nodes]):
            yield *one, nodes


@contextmanager
def own_folder(name: str) -> Iterator[Where]:
    """Where the servers of some tests are: beside those of developers, whose jars they use. The folder is one for all
    runs, one at a time: what a run that was killed has left there is ended by the next one."""
    developers = Where.from_environment()
    root = developers.root / name
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(f"another run of these tests uses {root}", pytrace=False)
        yield replace(developers, root=root, jars=developers.root)


@contextmanager
def ended(servers: Sequence[Server]) -> Iterator[None]:
    """Servers of which nothing is left, neither before nor after."""
    try:
        _clear(servers)
        yield
    finally:
        _clear(servers)


def _clear(servers: Sequence[Server]) -> None:
    for server in servers:
        server.end()
        shutil.rmtree(server.where.folder(server.name), ignore_errors=True)


def server_port(*further: int) -> int:
    """A port that is free, and so are those that are so much further on."""
    while True:
        port = random.choice(PORTS)
        with ExitStack() as stack:
            try:
                for number in (port, *(port + distance for distance in further)):
                    stack.enter_context(socket.socket()).bind((HOST, number))
            except OSError:
                continue
            return port
