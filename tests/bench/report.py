"""What was measured, as rows with ratios, and where it was."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from servers.where import Where, used_instead
from streams.settings import Settings

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("faust-streaming", "aiokafka", "cassandra-driver", "fastavro", "msgspec", "uvloop", "eventsourcing")
ROOT = Path(__file__).parents[2]
_ARTIFACTS = {"Kafka": "kafka_2.13", "Cassandra": "cassandra-all"}

Figure = tuple[str, float]
"""What was measured, and once: what simple parts return."""


@dataclass(frozen=True)
class Row:
    """One thing that was measured in rounds, ours and the rival's in turn.

    what    and in which unit
    ours    a figure for each round, in their order
    rival   whose figures `theirs` are; empty where there is none
    less    whether less is better
    """

    what: str
    ours: Sequence[float]
    rival: str = ""
    theirs: Sequence[float] = ()
    less: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better ours is, median by median."""
        return self._times(median(self.theirs)) if self.theirs else None

    @property
    def to_best(self) -> float | None:
        """How many times better our median is than the rival's best round."""
        return self._times(min(self.theirs) if self.less else max(self.theirs)) if self.theirs else None

    def _times(self, their: float) -> float | None:
        mine, other = (their, median(self.ours)) if self.less else (median(self.ours), their)
        return mine / other if other else None


def as_rows(measured: Iterable[Row | Figure]) -> list[Row]:
    """Rows of what a part returns."""
    return [it if isinstance(it, Row) else Row(it[0], [it[1]]) for it in measured]


def table(rows: Sequence[Row]) -> list[str]:
    """In Markdown. Without rivals it is short."""
    if not any(row.theirs for row in rows):
        several = any(len(row.ours) > 1 for row in rows)
        head = ["| what | figure | rounds |", "|---|---|---|"] if several else ["| what | figure |", "|---|---|"]
        cells = [[row.what, number(median(row.ours)), *([_rounds(row.ours)] if several else [])] for row in rows]
    else:
        head = ["| what | ours | rival | its | ratio | to its best | rounds |", "|---|---|---|---|---|---|---|"]
        cells = [_cells(row) for row in rows]
    return [*head, *(f"| {' | '.join(cell)} |" for cell in cells)]


def _cells(row: Row) -> list[str]:
    what = f"{row.what} (less is better)" if row.less and row.theirs else row.what
    if not row.theirs:
        return [what, number(median(row.ours)), "", "", "", "", _rounds(row.ours)]
    ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in (row.ratio, row.to_best)]
    rounds = " / ".join(part for part in (_rounds(row.ours), _rounds(row.theirs)) if part)
    return [what, number(median(row.ours)), row.rival, number(median(row.theirs)), *ratios, rounds]


def _rounds(figures: Sequence[float]) -> str:
    return ", ".join(number(figure) for figure in figures) if len(figures) > 1 else ""


def number(figure: float) -> str:
    """For people: two decimals below 10."""
    return f"{figure:,.2f}" if abs(figure) < 10 else f"{figure:,.0f}"


def machine() -> str:
    """What it was measured on and with."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    where = f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GB, {platform.system()} {platform.release()}"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    rival = f"Pekko {_property('pekko')}"
    python = f"CPython {platform.python_version()}"
    return "; ".join([where, python, packages, _servers(), rival, *_settings(), f"commit {_commit()}."])


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _settings() -> list[str]:
    """Those numbers that workers are set to by the environment."""
    names = (field.name.upper() for field in fields(Settings))
    return [f"{name}={value}" for name in names if (value := os.environ.get(name, "")).isdigit()]


def _servers() -> str:
    """Those that the project starts, on this machine; or which setting names others."""
    where = Where.from_environment()
    return ", ".join(used_instead(name.lower(), where) or f"{name} {_release(name)}" for name in _ARTIFACTS)


def _release(name: str) -> str:
    pom = (ROOT / "servers" / f"{name.lower()}.pom.xml").read_text()
    found = re.search(rf"<artifactId>{re.escape(_ARTIFACTS[name])}</artifactId>\s*<version>([^<]+)<", pom)
    return found[1] if found else ""


def _property(name: str) -> str:
    pom = (Path(__file__).parent / "rivals" / "pekko-orders" / "pom.xml").read_text()
    return pom.partition(f"<{name}>")[2].partition("<")[0]


def _commit() -> str:
    try:
        asked = ["git", "describe", "--always", "--dirty"]
        return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def store(lines: Sequence[str], now: datetime) -> Path:
    """Write them among the results; where."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{now:%Y-%m-%d-%H%M}.md"
    file.write_text("\n".join(lines) + "\n")
    return file
