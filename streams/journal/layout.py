"""Which logs an aggregate type has, from which commits to which, and with which slices.

A slice is the place of a key, for ever: a partition of the type's topics. A log is what is owned, fenced and committed
to. It has its slices from its beginning to its end. Whoever wants other sets of slices seals logs, and begins others
behind them. Commit numbers go on rising over that, so of one slice they rise for ever, and an aggregate's too.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class LogSpan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One log, from its first commit to its last.

    number     of the log, never given out again
    seat       the partition of the topic of logs (and of that of hints) by which it is placed; of one open log at most
    slices     that it has, in order
    after      its first commit is the one behind this number
    sealed     the number of its last commit; None while it is open
    parents    the logs that it goes on from
    """

    number: int
    seat: int
    slices: tuple[int, ...]
    after: int = 0
    sealed: int | None = None
    parents: tuple[int, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether commits are appended to it."""
        return self.sealed is None


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """All logs of a type that ever were. Each slice is in one open log.

    version    rises by one with each change, from 1
    slices     their number, fixed for ever
    logs       by number
    """

    version: int
    slices: int
    logs: tuple[LogSpan, ...]

    @property
    def open(self) -> Sequence[LogSpan]:
        """The logs that are appended to."""
        return [log for log in self.logs if log.is_open]

    @property
    def seats(self) -> Sequence[int]:
        """Those of the open logs."""
        return [log.seat for log in self.open]

    def log(self, number: int) -> LogSpan:
        """The log with this number. Raises `KeyError`."""
        for log in self.logs:
            if log.number == number:
                return log
        raise KeyError(number)

    def spans(self, slice: int) -> Sequence[LogSpan]:
        """The logs that have had a slice, in the order of its commits: the last one is open."""
        return sorted((log for log in self.logs if slice in log.slices), key=lambda log: (log.after, log.number))

    def of(self, slice: int) -> LogSpan:
        """The open log that has a slice."""
        return self.spans(slice)[-1]


def first_layout(slices: int, logs: int) -> Layout:
    """The layout that a type begins with: `logs` logs, each with as many slices as the others, or one more."""
    logs = max(1, min(logs, slices))
    spans = [LogSpan(number=number, seat=number, slices=tuple(range(number, slices, logs))) for number in range(logs)]
    return Layout(version=1, slices=slices, logs=tuple(spans))
