"""A worker as a process, with its port and its log."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 20.0
PORTS = range(10_000, 20_000)
"""Each process takes them in an order of its own."""

_ports = itertools.cycle(random.sample(PORTS, len(PORTS)))

ORDERS, PRODUCTS, USERS, CHECKOUT = (f"streams.shop.{name}" for name in ("orders", "products", "users", "checkout"))
PROJECTIONS, TIMERS = "projections.shop.app", "streams.timers"


@dataclass
class Worker:
    """A worker process and its log."""

    module: str
    port: int
    log: Path
    folder: Path
    process: subprocess.Popen[bytes]
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    @property
    def last_ready(self) -> str:
        """The last `ready:` line of its log."""
        return next((line for line in reversed(self.lines) if line.startswith("ready: ")), "")

    @property
    def last_served(self) -> str:
        """The same without the logs that a worker of a command app names behind its partitions."""
        return self.last_ready.partition(" logs=")[0]

    def end(self) -> None:
        """Wait until it has ended; it is killed when that takes long."""
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self) -> str:
        """The end of the log, for people."""
        return f"the end of {self.log}:\n" + "\n".join(line[:400] for line in self.lines[-30:])


def free_port() -> int:
    """A port that nobody listens at just now, and that this process has not given out for long.

    None of those that the kernel gives to clients: a worker listens some seconds later.
    """
    for port in _ports:
        with socket.socket() as one:
            # Whoever has listened there may have ended a moment ago.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                return port
    raise AssertionError("without end")
