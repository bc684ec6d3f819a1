"""One record of the log is one line, whatever ids and texts of others are in it.

Ids come from HTTP paths and Kafka keys, and may be any text: with a line break in them they would write lines of their
own into the log, with an escape sequence they would move the cursor of whoever reads it.
"""

from __future__ import annotations

import logging
from typing import Any

from streams.text import printable

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
