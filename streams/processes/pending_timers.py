"""The timers of some slices that are pending, in the order in which they are to be asked to fire.

They are rows of a temporary SQLite database, which sorts them and finds them by id: at most `CACHE_KIB` of memory
however many there are, and beyond that some 200 bytes a timer in a file without a name, which is gone with the process.

What the next owner needs is in the journal: the log, and so that it need not be read from its beginning, `PAGES` pages
of pending timers of each slice, each saved with the number of the commit up to which it is complete. They are made from
the log, and may be missing or old: who reads the log from the oldest page on has all timers that are pending. A slice
that goes on in another log takes its pages along.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from zlib import crc32

import msgspec

from streams.slices import slice_of

PAGES = 4
"""Of one slice. Which one a timer is in says its id; the number is part of the stored form."""
CACHE_KIB = 1_024
MOST_COUNTED = 10_000
FORM = 2
"""Of a stored page; pages of any other are left aside, and the log is read instead."""

_TABLES = f"""
PRAGMA cache_size = -{CACHE_KIB};
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE pending (
    page INTEGER, id TEXT, due TEXT, nr INTEGER, idx INTEGER, correlation_id TEXT, principal TEXT,
    sequence INTEGER, traceparent TEXT, command_id TEXT, scheduled REAL, ask TEXT, pause INTEGER,
    PRIMARY KEY (page, id)
) WITHOUT ROWID;
CREATE INDEX by_time ON pending (ask);
CREATE INDEX asked ON pending (pause) WHERE pause > 0;
"""
_TIMER = "id, due, nr, idx, correlation_id, principal, sequence, traceparent, command_id, scheduled"


class PendingTimer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A timer as it was scheduled last: when it is due (ISO 8601 in UTC, so that texts are in the order of time), and
    the commit and index of the event that says so, who has scheduled it, and the sequence of that event; 0 where a page
    does not say it. The trace in which it was scheduled goes on where it fires: how that began, the command of it, and
    when that was decided (seconds since 1970); empty, and 0, where a page does not say it."""

    id: str
    due: str
    nr: int
    index: int
    correlation_id: str
    principal: str = ""
    sequence: int = 0
    traceparent: str = ""
    command_id: str = ""
    scheduled: float = 0.0


Page = tuple[int, int]
"""A slice, and the number of a page of it."""

_decode_page = msgspec.msgpack.Decoder(list[PendingTimer]).decode


class PendingTimers:
    """The pending timers of some of the `slices` that there are. Each has a time when it is to be asked: at first, when
    it is due."""

    def __init__(self, slices: int) -> None:
        self._slices = slices
        self._rows = sqlite3.connect("", isolation_level=None)
        self._rows.executescript(_TABLES)

    def close(self) -> None:
        """Forget them."""
        self._rows.close()

    def schedule(self, timers: Iterable[PendingTimer]) -> None:
        """These are pending; one that was already is so at its new time only."""
        self._rows.executemany(
            "REPLACE INTO pending VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            ((self._page_of(timer.id), *msgspec.structs.astuple(timer), timer.due) for timer in timers),
        )

    def end(self, id: str) -> None:
        """This one is pending no more, if it was."""
        self._rows.execute("DELETE FROM pending WHERE page = ? AND id = ?", (self._page_of(id), id))

    # -- who is to be asked ----------------------------------------------------------------------------

    @property
    def asked(self) -> int:
        """How many were asked and are still pending."""
        return int(self._rows.execute("SELECT count(*) FROM pending WHERE pause > 0").fetchone()[0])

    @property
    def next_time(self) -> str | None:
        """When the next one is to be asked; None where there is none."""
        return self._rows.execute("SELECT min(ask) FROM pending").fetchone()[0]  # type: ignore[no-any-return]

    def late(self, now: str) -> tuple[int, str | None]:
        """How many are due by now and pending, and since when the oldest of them is. Of those that were not asked yet
        `MOST_COUNTED` are counted."""
        return self._rows.execute(  # type: ignore[no-any-return]
            "SELECT count(*), min(due) FROM (SELECT * FROM (SELECT due FROM pending WHERE pause = 0 AND ask <= ?"
            " ORDER BY ask LIMIT ?) UNION ALL SELECT due FROM pending WHERE pause > 0)",
            (now, MOST_COUNTED),
        ).fetchone()

    def due(self, now: str, limit: int) -> list[PendingTimer]:
        """Up to `limit` that were not asked yet and are to be by now, the oldest first."""
        rows = self._rows.execute(
            f"SELECT {_TIMER} FROM pending WHERE pause = 0 AND ask <= ? ORDER BY ask, id LIMIT ?", (now, limit)
        )
        return [PendingTimer(*timer) for timer in rows]

    def due_again(self, now: str) -> list[tuple[PendingTimer, int]]:
        """Those that were asked, are still pending, and are to be asked again by now, the oldest first, each with the
        pause (seconds) since it was asked before."""
        rows = self._rows.execute(
            f"SELECT {_TIMER}, pause FROM pending WHERE pause > 0 AND ask <= ? ORDER BY ask, id", (now,)
        )
        return [(PendingTimer(*timer), pause) for *timer, pause in rows]

    def ask_again(self, timer: PendingTimer, at: str, pause: int) -> None:
        """It was asked, and is to be asked again, after `pause` seconds, `at` this time."""
        self._rows.execute(
            "UPDATE pending SET ask = ?, pause = ? WHERE page = ? AND id = ?",
            (at, pause, self._page_of(timer.id), timer.id),
        )

    # -- pages -----------------------------------------------------------------------------------------

    def page(self, page: Page) -> bytes:
        """A page, to be stored."""
        slice, number = page
        rows = self._rows.execute(f"SELECT {_TIMER} FROM pending WHERE page = ?", (slice * PAGES + number,))
        return msgspec.msgpack.encode(rows.fetchall())

    def add_page(self, page: bytes) -> None:
        """Take in a page that was stored."""
        self.schedule(_decode_page(page))

    def _page_of(self, id: str) -> int:
        return slice_of(id, self._slices) * PAGES + crc32(id.encode()) % PAGES
