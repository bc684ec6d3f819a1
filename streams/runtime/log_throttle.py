"""A library that repeats itself is heard once in a while: aiokafka logs a broker that is down 900 times a second."""

from __future__ import annotations

import logging
import time

SAY_AGAIN = 15.0


class RateLimit(logging.Filter):
    """Lets a message pass when no other was heard from the same line of code for 15 seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._heard: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, place = time.monotonic(), (record.pathname, record.lineno)
        if now - self._heard.get(place, -SAY_AGAIN) < SAY_AGAIN:
            return False
        self._heard[place] = now
        return True


def quieten(library: str) -> None:
    """Do so for all loggers that a library has made so far."""
    for name in list(logging.root.manager.loggerDict):
        if name == library or name.startswith(f"{library}."):
            logging.getLogger(name).addFilter(RateLimit())
