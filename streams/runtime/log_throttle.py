"""What repeats itself is heard once in a while: aiokafka logs a broker that is down 900 times a second, and a thousand
queries a second may fail alike."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

SAY_AGAIN = 15.0


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
