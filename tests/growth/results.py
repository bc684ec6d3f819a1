"""The table of a run: how often logs were split and merged, what was done meanwhile, and how long keys stood still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.chaos.results import markdown, titled

COLUMNS = (
    "meanwhile", "splits", "merges", "commands", "lost", "doubled", "a key stood still: median, worst",
    "at who was killed or stopped", "the client itself",
)  # fmt: skip
EXPLAINED = (
    "Two workers of orders, one of projections, 4 partitions. A key stands still from a command to its reply, by the"
    " clock of the client that sends it: of each change the worst key, and of these the median and the worst. Those"
    " whose log was at the worker that was killed or stopped, or was to begin there, are counted apart: they wait for"
    " the takeover, or until it goes on. The client itself: how late its own clock was at most."
)


@dataclass
class Changes:
    """Changes of logs, with a fault in the middle of each, or none.

    still    of each change the longest time (s) in which a key had no reply, of those that the fault did not hit
    hit      likewise of those that it did
    late     how late the client was itself, at most (s)
    """

    fault: str
    splits: int = 0
    merges: int = 0
    sent: int = 0
    lost: int = 0
    doubled: int = 0
    still: list[float] = field(default_factory=list)
    hit: list[float] = field(default_factory=list)
    late: float = 0.0

    @property
    def cells(self) -> tuple[str, ...]:
        counts = (self.splits, self.merges, self.sent, self.lost, self.doubled)
        return self.fault, *map(str, counts), _shown(self.still), _shown(self.hit), f"{self.late:.2f} s"


def _shown(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f}, {max(seconds):.2f} s" if seconds else "-"


def table(results: Sequence[Changes]) -> list[str]:
    """As lines of Markdown."""
    return markdown([COLUMNS, *(result.cells for result in results)])


def report(results: Sequence[Changes]) -> str:
    """The table with machine and date, for a file."""
    return titled("Logs split and merged under load", [*table(results), "", EXPLAINED])
