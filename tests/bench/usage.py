"""Processor time and context switches by process: what a command costs whom, which says more than a rate on a machine
that all share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from servers import process
from servers.where import Where, used_instead
from tests.bench.worker import cpu_seconds


class Spent(NamedTuple):
    """What a round has taken: seconds by the clock, and of each process its processor time in microseconds an item and
    its context switches an item."""

    seconds: float
    each: Mapping[str, float]
    switches: Mapping[str, float]

    @property
    def total(self) -> float:
        """Of all of them together."""
        return sum(self.each.values())


class Usage:
    """What some processes take from now on; those of one name count together."""

    def __init__(self, processes: Mapping[str, list[int]]) -> None:
        self._processes = processes
        self._before = self._now(cpu_seconds), self._now(switches)
        self._began = time.perf_counter()

    def spent(self, items: int) -> Spent:
        """Since it was made, for each of so many items."""
        seconds = time.perf_counter() - self._began
        cpu, switched = self._before
        return Spent(
            seconds,
            {name: (now - cpu[name]) / items * 1e6 for name, now in self._now(cpu_seconds).items()},
            {name: (now - switched[name]) / items for name, now in self._now(switches).items()},
        )

    def _now(self, of: Callable[[int], float]) -> dict[str, float]:
        return {name: sum(of(pid) for pid in pids) for name, pids in self._processes.items()}


def switches(pid: int) -> int:
    """How often a thread of a process has been taken from a processor or has given it up; of the threads there are."""
    return sum(_switches(task / "status") for task in Path(f"/proc/{pid}/task").iterdir())


def _switches(status: Path) -> int:
    lines: Iterable[str] = ()
    with contextlib.suppress(OSError):  # the thread has just ended
        lines = status.read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "_ctxt_switches" in line)


def open_files(pid: int) -> int:
    """Files, sockets and the like that a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def servers() -> dict[str, list[int]]:
    """Kafka and Cassandra, as far as they are the project's own on this machine: others' processor time is not to be
    seen, so it is left out."""
    where = Where.from_environment()
    found: dict[str, list[int]] = {}
    for name in ("kafka", "cassandra"):
        pid = None if used_instead(name, where) else process.running(where.pid_file(name))
        if pid is not None:
            found[name.capitalize()] = [pid]
    return found
