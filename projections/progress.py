"""How far a lane has come, in events: those that only the log has, then those of the topic.

A record of the topic is an event, so offsets count them. How many the log holds is not known before it is read; until
then it is estimated by how many its commits have held so far.
"""

from __future__ import annotations

import time


class Progress:
    """Of one lane. What was done before it began counts as done, but not for its rate."""

    def __init__(self) -> None:
        self.offset = 0
        """Of the next record to be read."""
        self.end = 0
        """The offset behind the last record, when the lane looked."""
        self.reads_topic = False
        """Whether what only the log has is done."""
        self._began: float | None = None
        self._done_before = 0
        self._events = 0
        self._from_nr = self._nr = self._last_nr = 0
        self._first = 0
        self._unpublished = False

    def log(self, after: int, last: int, first: int, end: int) -> None:
        """The log is read, from behind one commit up to another, and then a topic that has these offsets."""
        self._events, self._from_nr, self._nr, self._last_nr = 0, after, after, max(after, last)
        self._first = self.offset = first
        self.end = end
        self._unpublished = end == 0
        self.reads_topic = False
        self._begin()

    def in_log(self, nr: int, events: int) -> None:
        """So many more events are done, the last of them of this commit."""
        self._nr, self._events = nr, self._events + events
        self._last_nr = max(self._last_nr, nr)

    def topic(self, offset: int, end: int) -> None:
        """The topic is read, from an offset on."""
        if self._unpublished:  # what the log had comes again
            self._events = self._from_nr = self._last_nr = 0
        self._nr = self._last_nr
        self.offset, self.end, self.reads_topic = offset, end, True
        if self._began is None:
            self._begin()

    def _begin(self) -> None:
        self._began, self._done_before = time.monotonic(), self.done

    def _of_log(self, nr: int) -> int:
        read = self._nr - self._from_nr
        return round(nr * self._events / read) if read else nr

    @property
    def done(self) -> int:
        """Events that are applied."""
        return self._of_log(self._nr) + self.offset - self._first

    @property
    def total(self) -> int:
        """Events in all, as far as the lane has looked."""
        return self._of_log(self._last_nr) + max(self.end, self.offset) - self._first

    @property
    def rate(self) -> float:
        """Events a second."""
        if self._began is None:
            return 0.0
        return (self.done - self._done_before) / max(time.monotonic() - self._began, 0.001)
