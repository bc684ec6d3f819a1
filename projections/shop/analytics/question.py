"""Questions to analytics: every worker answers for its partitions, and the parts are put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from projections.projection import Row

SEPARATOR = "|"
"""Between the parts of a row's key. All but one of them have a fixed length, so the key says one thing only."""
_AFTER = chr(ord(SEPARATOR) + 1)

Keys = tuple[str, str | None]
"""Rows in the order of their keys: from the first key on, up to the second, that one not included; None for no end."""
ALL: Keys = ("", None)


class Question(Protocol):
    """A question as a value.

    `table` is the name of the projection that is asked, `keys` the rows that are needed. What else `here` is given it
    leaves out itself, so the keys save work only.
    """

    @property
    def table(self) -> str: ...

    @property
    def keys(self) -> Keys: ...

    def here(self, rows: Iterable[Row]) -> Any:
        """The part of the answer that is in these rows, of any number of partitions; it can be written as JSON."""

    def answer(self, parts: Iterable[Any]) -> Row:
        """The parts of all partitions put together, ready for JSON."""


@dataclass(frozen=True, slots=True)
class Window:
    """The days from `first` to `last`, both included, each like `2011-01-31`."""

    first: str = "0001-01-01"
    last: str = "9999-12-31"

    def holds(self, period: str) -> bool:
        """Whether a day, or some of a month, is in it."""
        return self.first[: len(period)] <= period <= self.last[: len(period)]

    def days(self) -> Keys:
        """The range of the rows whose keys begin with a day of it."""
        return self.first, self.last + _AFTER

    def months(self, before: str = "") -> Keys:
        """The range of the rows whose keys begin with `before` and a month of it."""
        return before + self.first[:7], before + self.last[:7] + _AFTER


EVER = Window()
