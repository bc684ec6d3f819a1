"""How far a processor has come, in events: those that only the log has, then those of the topic.

A record of the topic is an event, so offsets count them, also those that the topic has had once. Where it has been made
anew they do not: then what the log holds is estimated by how much its commits have held so far.
"""

from __future__ import annotations

import time


class Progress:
    """Of one processor. What was done before it began counts as done, but not for its rate."""

    def __init__(self) -> None:
        self.offset = 0
        """Of the next record to be read."""
        self.end = 0
        """The offset behind the last record, when somebody looked."""
        self.reads_topic = False
        """Whether what only the log has is done."""
        self._began: float | None = None
        self._done_before = 0
        self._from_nr = self._nr = self._last_nr = 0
        self._events = 0
        self._first = 0

    def log(self, after: int, last: int, first: int, end: int) -> None:
        """The log is read, from behind one commit up to another, and then a topic that has these offsets."""
        self._from_nr, self._nr, self._last_nr, self._events = after, after, max(after, last), 0
        self._first = self.offset = first
        self.end, self.reads_topic = end, False
        self._begin()

    def in_log(self, nr: int, events: int) -> None:
        """So many more events are done, the last of them of this commit."""
        if self.reads_topic:  # it lacks them, or has not brought them: its offsets count them all the same
            self.offset = min(self.offset + events, max(self.end, self.offset))
            return
        self._nr, self._events = nr, self._events + events
        self._last_nr = max(self._last_nr, nr)

    def topic(self, offset: int, end: int) -> None:
        """The topic is read, from an offset on."""
        if not self.reads_topic and self._first == self.end:
            # It held nothing: what the log had of it was not published yet, or is counted by the offsets.
            self._nr = self._last_nr = 0
        self._nr = self._last_nr
        self.offset, self.end, self.reads_topic = offset, end, True
        if self._began is None:
            self._begin()

    def _begin(self) -> None:
        self._began, self._done_before = time.monotonic(), self.done

    @property
    def _in_log(self) -> tuple[int, int]:
        """Events of the log: done, and in all."""
        if self._first:
            before = self._first * self._from_nr // max(self._last_nr, 1)
            return (self._first if self.reads_topic else min(before + self._events, self._first)), self._first
        read = self._nr - self._from_nr
        in_one = self._events / read if read else 1
        return round(self._nr * in_one), round(self._last_nr * in_one)

    @property
    def done(self) -> int:
        """Events that are applied."""
        return self._in_log[0] + self.offset - self._first

    @property
    def total(self) -> int:
        """Events in all, as far as somebody has looked."""
        return self._in_log[1] + max(self.end, self.offset) - self._first

    @property
    def rate(self) -> float:
        """Events a second."""
        if self._began is None:
            return 0.0
        return (self.done - self._done_before) / max(time.monotonic() - self._began, 0.001)
