"""Processor time by process: what a command costs whom, which says more than a rate on a machine that all share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from servers import process
from servers.where import Where, used_instead
from tests.bench.worker import cpu_seconds


class Spent(NamedTuple):
    """What a round has taken: seconds by the clock, and processor time of each process in microseconds an item."""

    seconds: float
    each: Mapping[str, float]

    @property
    def total(self) -> float:
        """Of all of them together."""
        return sum(self.each.values())


class Usage:
    """The processor time of some processes from now on; those of one name count together."""

    def __init__(self, processes: Mapping[str, list[int]]) -> None:
        self._processes = processes
        self._before = self._now()
        self._began = time.perf_counter()

    def spent(self, items: int) -> Spent:
        """Since it was made, for each of so many items."""
        seconds = time.perf_counter() - self._began
        used = {name: now - self._before[name] for name, now in self._now().items()}
        return Spent(seconds, {name: cpu / items * 1e6 for name, cpu in used.items()})

    def _now(self) -> dict[str, float]:
        return {name: sum(cpu_seconds(pid) for pid in pids) for name, pids in self._processes.items()}


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
