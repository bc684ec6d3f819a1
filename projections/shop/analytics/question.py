"""What is asked of analytics: read from a query, answered by every worker for its partitions, then put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from projections.projection import Row

SEPARATOR = "|"
"""Between the parts of a row's key. All but one of them have a fixed length, so the key says one thing only."""
_AFTER = chr(ord(SEPARATOR) + 1)

Keys = tuple[str, str | None]
"""Rows in the order of their keys: from the first key on, up to the second, that one not included; None for no end."""
ALL: Keys = ("", None)

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


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
        """From and up to which key the rows stand whose keys begin with a day of it."""
        return self.first, self.last + _AFTER

    def months(self, before: str = "") -> Keys:
        """The same of keys that begin with `before` and a month."""
        return before + self.first[:7], before + self.last[:7] + _AFTER


EVER = Window()


def read_days(query: Mapping[str, str]) -> Window:
    """`from` and `to`: days, or months, which are all of their days. Raises `ValueError`."""
    return _window(query, True)


def read_months(query: Mapping[str, str]) -> Window:
    """`from` and `to`: whole months. Raises `ValueError`."""
    return _window(query, False)


def _window(query: Mapping[str, str], days: bool) -> Window:
    start, end = query.get("from"), query.get("to")
    first = EVER.first if start is None else _period("from", start, days, "01")
    last = EVER.last if end is None else _period("to", end, days, "31")
    if first > last:
        raise ValueError(f"from={start!r} is after to={end!r}")
    return Window(first, last)


def _period(name: str, text: str, days: bool, day: str) -> str:
    """A day; of a month the given one. That a month may have fewer days does no harm: there are no rows of others."""
    if _MONTH.fullmatch(text):
        return f"{text}-{day}"
    if days and _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            pass
    raise ValueError(f"{name}={text!r}: {'a day like 2011-01-31, or ' if days else ''}a month like 2011-01")


def read_number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A number from 1 to `most`. Raises `ValueError`."""
    text = query.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,9}", text) and 1 <= int(text) <= most:
        return int(text)
    raise ValueError(f"{name}={text!r}: a number from 1 to {most}")


def read_choice(query: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    """One of `choices`. Raises `ValueError`."""
    text = query.get(name, default)
    if text in choices:
        return text
    raise ValueError(f"{name}={text!r}: use {', '.join(choices[:-1])} or {choices[-1]}")
