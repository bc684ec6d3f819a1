"""The table of a run: how often logs were split and merged, what was done meanwhile, and how long keys stood still."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from tests.chaos.results import markdown, titled

COLUMNS = (
    "meanwhile", "splits", "merges", "commands", "lost", "doubled", "a key stood still: median, worst",
    "worst of a client on time", "at who was killed or stopped: median, worst",
)  # fmt: skip
LATE_SECONDS = 0.1
EXPLAINED = (
    "Two workers of orders, one of projections, 4 partitions. A key stands still from a command to its reply, by the"
    " clock of the client that sends it: of each change the worst key, and of these the median and the worst. A client"
    f" is on time when it was never {LATE_SECONDS:g} s late itself in that change: else it measures the machine. Keys"
    " whose log was at the worker that was killed or stopped, or was to begin there, are counted apart: they wait for"
    " the takeover, or until it goes on."
)


class Change(NamedTuple):
    """A split or a merge: the longest time (s) in which a key had no reply, of those that a fault did not hit, and of
    those that it did; and how late the client was itself at most. NaN where there were none."""

    still: float
    hit: float
    late: float


@dataclass
class Changes:
    """Changes of logs, with a fault in the middle of each, or none."""

    fault: str
    splits: int = 0
    merges: int = 0
    sent: int = 0
    lost: int = 0
    doubled: int = 0
    each: list[Change] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The longest time (s) in which a key stood still that no fault had hit."""
        return max(_numbers([change.still for change in self.each]), default=0.0)

    @property
    def cells(self) -> tuple[str, ...]:
        counts = (self.splits, self.merges, self.sent, self.lost, self.doubled)
        on_time = [change.still for change in self.each if change.late < LATE_SECONDS]
        return (
            self.fault,
            *map(str, counts),
            _shown([change.still for change in self.each]),
            _of_some(on_time, len(self.each)),
            _shown([change.hit for change in self.each]),
        )


def _numbers(seconds: Sequence[float]) -> Sequence[float]:
    return [number for number in seconds if not math.isnan(number)]


def _of_some(seconds: Sequence[float], of: int) -> str:
    found = _numbers(seconds)
    return f"{max(found):.2f} s in {len(found)} of {of}" if found else "-"


def _shown(seconds: Sequence[float]) -> str:
    found = _numbers(seconds)
    return f"{median(found):.2f}, {max(found):.2f} s" if found else "-"


def table(results: Sequence[Changes]) -> list[str]:
    """As lines of Markdown."""
    return markdown([COLUMNS, *(result.cells for result in results)])


def report(results: Sequence[Changes]) -> str:
    """The table with machine and date, for a file."""
    return titled("Logs split and merged under load", [*table(results), "", EXPLAINED])
