"""The table of a run: what was done, how often, and what became of the commands."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

COLUMNS = "fault", "tried", "sent", "lost", "duplicated", "longest pause"


@dataclass(frozen=True)
class Result:
    """One fault under load. `pause`: the longest time (s) in which a partition that was under load gave no reply."""

    fault: str
    tried: int
    sent: int
    lost: int
    duplicated: int
    pause: float

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            self.fault,
            str(self.tried),
            str(self.sent),
            str(self.lost),
            str(self.duplicated),
            f"{self.pause:.1f} s" if self.pause else "-",
        )


def table(results: Sequence[Result]) -> list[str]:
    """As lines of Markdown."""
    return markdown([COLUMNS, *(result.cells for result in results)])


def report(results: Sequence[Result], title: str = "Faults under load") -> str:
    """The table with machine and date, for a file."""
    return titled(title, table(results))


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table, the first row its head, as aligned lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def titled(title: str, lines: Sequence[str]) -> str:
    """A file of these lines, with machine and date."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release()}"
    head = [f"# {title}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "", f"{machine}, Python {platform.python_version()}"]
    return "\n".join([*head, "", *lines, ""])
