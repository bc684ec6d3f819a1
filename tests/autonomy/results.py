"""The autonomy matrix: what was down, what was ordered meanwhile, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.results import markdown, titled

COLUMNS = (
    "down",
    "for",
    "orders in all",
    "placed meanwhile",
    "waiting at the return",
    "commands resumed",
    "confirmed after",
    "all ended after",
    "lost",
    "doubled",
)


@dataclass(frozen=True)
class Result:
    """One row. `seconds`: from the kill until the whole shop served again, the start of processes included.

    `meanwhile` orders were placed in that time; of them `confirmed` were confirmed, the others rejected or cancelled as
    they had to. `waiting` had not ended when what was down was started again. `resumed` counts commands that had to be
    sent again. `settled`: how long (s) after the return the last one of `meanwhile` ended; below 0 before it was whole.
    """

    down: str
    seconds: float
    orders: int
    meanwhile: int
    waiting: int
    resumed: int
    confirmed: int
    settled: float
    lost: int
    doubled: int

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            self.down,
            f"{self.seconds:.1f} s",
            str(self.orders),
            str(self.meanwhile),
            str(self.waiting),
            str(self.resumed),
            str(self.confirmed),
            f"{max(self.settled, 0.0):.1f} s",
            str(self.lost),
            str(self.doubled),
        )


def table(results: Sequence[Result]) -> list[str]:
    """As lines of Markdown."""
    return markdown([COLUMNS, *(result.cells for result in results)])


def report(results: Sequence[Result]) -> str:
    """The table with machine and date, for a file."""
    return titled("Autonomy", table(results))
