"""How far a long job is: a bar with rate and time left for people, a line now and then for logs."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 5.0
"""Seconds between two lines in a log."""


class Meter:
    """Counts up to `total` on standard error, so that standard output stays the answer's alone."""

    def __init__(self, label: str, total: int, unit: str, console: Console | None = None) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self._rate: float | None = None
        self._console = console or Console(stderr=True, highlight=False)
        self._started = self._spoke = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task(label, total=total, rate="")

    def __enter__(self) -> Meter:
        self._started = self._spoke = time.monotonic()
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()
        else:
            self._speak()

    def advance(self, count: int) -> None:
        self.at(self.done + count)

    def at(self, done: int, label: str | None = None, total: int | None = None, rate: float | None = None) -> None:
        """Set how much is done and, when it changes, what is being done and how much there is in all.

        `rate` is that of whoever does it, where this did not watch it from its beginning.
        """
        self.done, self.label = done, label or self.label
        self.total = self.total if total is None else total
        self._rate = rate
        if self._console.is_terminal:
            shown = f"{self.rate:,.0f} {self.unit}/s"
            self._bar.update(self._task, completed=done, total=self.total, description=self.label, rate=shown)
        elif time.monotonic() - self._spoke >= EVERY:
            self._speak()

    @property
    def rate(self) -> float:
        """Units a second since the start, or as they were told."""
        return self._rate if self._rate is not None else self.done / max(time.monotonic() - self._started, 0.001)

    def _speak(self) -> None:
        self._spoke = time.monotonic()
        goes_on = 0 < self.done < self.total and self.rate > 0
        left = f", {(self.total - self.done) / self.rate:,.0f} s left" if goes_on else ""
        text = f"{self.label}: {self.done:,} of {self.total:,} {self.unit}, {self.rate:,.0f}/s{left}"
        self._console.print(text, markup=False, soft_wrap=True)
