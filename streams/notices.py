"""What a worker has said that somebody should know of, kept for those who look later than the log went by.

A trouble lasts, and the supervisor has it. What is kept here was said in one line of the log, and the worker went on: a
snapshot that the store refuses, commands that Kafka has lost, a file of rights that cannot be read any more.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime
from typing import Literal

import msgspec

from streams.moments import now
from streams.text import printable

Kind = Literal[
    "audit-gap",
    "client-connections",
    "commands-lost",
    "connections-full",
    "events-lost",
    "fenced",
    "file-unreadable",
    "host-down",
    "journal-hole",
    "keys-not-renewed",
    "keys-unreadable",
    "letter-too-large",
    "no-replies",
    "no-snapshot",
    "owner-failed",
    "reading-failed",
    "replies-lost",
    "rows-gone",
    "strangers-record",
    "table-damaged",
    "tokens-in-clear",
    "topic-clock",
    "topic-copies",
    "topic-made-again",
    "topic-one-copy",
    "waiting",
    "worker-disbelieved",
    "worker-gone",
]
"""What it is about: one line of "What the log says" in `docs/operations.md`, or some that are alike."""

MOST = 200
MOST_TEXT = 500


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of one thing.

    kind         one of `Kind`, or one that a newer version knows
    about        whom it is about: a log, a topic, a file; empty where there is only one
    text         the newest line
    first, last  when it was said first, and last (UTC); it was said `times` times
    """

    kind: str
    about: str
    text: str
    first: datetime
    last: datetime
    times: int


class Notices:
    """Those of one process, the newest of so many things as memory is to be had for. Several threads may note some."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._noted: dict[tuple[str, str], Notice] = {}
        """The one that was said last stands last."""
        self._lock = threading.Lock()

    def note(self, kind: Kind, about: str, text: str) -> None:
        """It was said just now."""
        at, key = now(), (kind, about[:MOST_TEXT])
        with self._lock:
            before = self._noted.pop(key, None)
            self._noted[key] = Notice(
                kind=kind,
                about=printable(key[1]),
                text=printable(text[:MOST_TEXT]),
                first=before.first if before is not None else at,
                last=at,
                times=before.times + 1 if before is not None else 1,
            )
            if len(self._noted) > self._most:
                del self._noted[next(iter(self._noted))]

    def over(self, kind: Kind, about: str) -> None:
        """It is so no more."""
        with self._lock:
            self._noted.pop((kind, about[:MOST_TEXT]), None)

    @property
    def all(self) -> list[Notice]:
        """What was said, the newest last."""
        with self._lock:
            return list(self._noted.values())


NOTICES = Notices()
"""Those of this process."""


def warn(log: logging.Logger, kind: Kind, about: str, text: str, *args: object) -> None:
    """Log a line as a warning, and keep it, whatever the level of the log is."""
    _say(log, logging.WARNING, kind, about, text, *args)


def say_error(log: logging.Logger, kind: Kind, about: str, text: str, *args: object) -> None:
    """Log a line as an error, and keep it."""
    _say(log, logging.ERROR, kind, about, text, *args)


def _say(log: logging.Logger, level: int, kind: Kind, about: str, text: str, *args: object) -> None:
    NOTICES.note(kind, about, text % args)
    log.log(level, text, *args, stacklevel=3)
