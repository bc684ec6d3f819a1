"""The lines of the log: one for a record, whatever ids and texts of others are in it, and what repeats itself is heard
once in a while.

Ids come from HTTP paths and Kafka keys, and may be any text: with a line break in them they would write lines of their
own into the log, with an escape sequence they would move the cursor of whoever reads it. aiokafka logs a broker that is
down 900 times a second, and a thousand queries a second may fail alike.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from streams.text import printable

SAY_AGAIN = 15.0
OURS = ("streams", "projections", "schemas", "aggregates")


class OneLineRecord(logging.LogRecord):
    """A record whose message is printable; a stack trace below it stays as it is."""

    def getMessage(self) -> str:
        message = super().getMessage()
        return message if message.isprintable() else printable(message)


def one_line_each() -> None:
    """Have all records of our own loggers made so, in this process."""
    make = logging.getLogRecordFactory()
    if getattr(make, "makes_lines", False):
        return

    def record(name: str, *args: Any, **options: Any) -> logging.LogRecord:
        return (OneLineRecord if name.partition(".")[0] in OURS else make)(name, *args, **options)

    record.makes_lines = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record)


def line_of_code(record: logging.LogRecord) -> object:
    """Where a message comes from."""
    return record.pathname, record.lineno


class RateLimit(logging.Filter):
    """Lets a message pass when no other with the same key, by default its line of code, was heard for some seconds."""

    def __init__(self, seconds: float = SAY_AGAIN, key: Callable[[logging.LogRecord], object] = line_of_code) -> None:
        super().__init__()
        self._seconds = seconds
        self._key = key
        self._heard: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, key = time.monotonic(), self._key(record)
        self._heard = {heard: at for heard, at in self._heard.items() if now < at + self._seconds}
        return self._heard.setdefault(key, now) == now


def quieten(library: str) -> None:
    """Do so for all loggers that a library has made so far."""
    for name in list(logging.root.manager.loggerDict):
        if name == library or name.startswith(f"{library}."):
            logging.getLogger(name).addFilter(RateLimit())
