"""Which logs an aggregate type has, from which commits to which, and with which slices.

A slice is the place of a key, for ever: a partition of the type's topics. A log is what is owned, fenced and committed
to. It has its slices from its beginning to its end. Whoever wants other sets of slices has logs end, and others begin
behind them. Commit numbers go on rising over that, so of one slice they rise for ever, and an aggregate's too.

A change is made in steps, each a conditional write of the next version, so that everybody may be interrupted anywhere,
and another goes on:

1. `split` or `merge` plans logs that go on from others. Nothing changes for anybody but the owners of these.
2. Such an owner derives all that it has committed, and appends a seal: its log's last commit, by the fence that all
   commits have. Whoever finds a seal at the head of a log does the next step.
3. `seal` notes its number. When the last log that a planned one goes on from is sealed, that one is open, and begins
   behind the highest of their numbers.

What is planned may be taken back by `cancel`, of which an owner hears too late perhaps. So a sealed log for which
nothing is planned any more goes on as a log of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec


class LayoutError(Exception):
    """A change that cannot be made; the message says why."""


class LogSpan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One log, from its first commit to its last.

    number     of the log, given out once; that of a planned one which was taken back may come again
    seat       the partition of the topic of logs (and of that of hints) by which it is placed; of one log at a time
    slices     that it has, in order
    after      its first commit is the one behind this number; None while it is planned
    sealed     the number of its last commit; None while it may have more
    parents    the logs that it goes on from
    """

    number: int
    seat: int
    slices: tuple[int, ...]
    after: int | None = 0
    sealed: int | None = None
    parents: tuple[int, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether commits are appended to it."""
        return self.after is not None and self.sealed is None

    @property
    def begins_after(self) -> int:
        """`after` of a log that is more than planned."""
        assert self.after is not None, f"log {self.number} is planned"
        return self.after


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """All logs of a type that ever were, and those that are planned. Each slice is in one open log, or between two.

    version    rises by one with each change, from 1
    slices     their number, fixed for ever
    logs       by number
    hint_key   by which hints that bring commits are known to be from somebody who has this journal; empty before
               anybody has made one
    """

    version: int
    slices: int
    logs: tuple[LogSpan, ...]
    hint_key: str = ""

    @property
    def open(self) -> Sequence[LogSpan]:
        """The logs that are appended to."""
        return [log for log in self.logs if log.is_open]

    @property
    def planned(self) -> Sequence[LogSpan]:
        """The logs that have not begun yet."""
        return [log for log in self.logs if log.after is None]

    @property
    def seats(self) -> Sequence[int]:
        """Those of the open logs, and of the planned ones."""
        return sorted({log.seat for log in (*self.open, *self.planned)})

    def log(self, number: int) -> LogSpan:
        """The log with this number. Raises `KeyError`."""
        for log in self.logs:
            if log.number == number:
                return log
        raise KeyError(number)

    def spans(self, slice: int) -> Sequence[LogSpan]:
        """The logs that have had a slice, in the order of its commits; the last one has it now."""
        begun = [log for log in self.logs if slice in log.slices and log.after is not None]
        return sorted(begun, key=lambda log: (log.begins_after, log.number))

    def of(self, slice: int) -> LogSpan:
        """The log that has a slice now: an open one, or one that is sealed, and whose heir waits for another seal."""
        return self.spans(slice)[-1]

    def is_ending(self, number: int) -> bool:
        """Whether a log is to be sealed: others are planned that go on from it."""
        return self.log(number).is_open and any(number in log.parents for log in self.planned)

    # -- changes: each returns the next version --------------------------------------------------------

    def split(self, number: int, parts: Sequence[tuple[int, Iterable[int]]]) -> Layout:
        """Plan logs in the place of one: of each the seat and the slices. Raises `LayoutError`."""
        parent = self._open(number)
        planned = self._plan([number], parts)
        if len(parts) < 2 or any(not log.slices for log in planned):
            raise LayoutError(f"log {number} is split into two parts or more, each with a slice")
        if parent.slices != tuple(sorted(slice for log in planned for slice in log.slices)):
            raise LayoutError(f"the parts of log {number} are not its slices, each once")
        return self._next([*self.logs, *planned])

    def merge(self, numbers: Collection[int], seat: int) -> Layout:
        """Plan one log in the place of several. Raises `LayoutError`."""
        parents = sorted({*numbers})
        if len(parents) < 2:
            raise LayoutError("to merge takes two logs or more")
        slices = [slice for number in parents for slice in self._open(number).slices]
        return self._next([*self.logs, *self._plan(parents, [(seat, slices)])])

    def seal(self, number: int, nr: int) -> Layout:
        """Note that commit `nr` is the last one of a log, and open the planned ones that waited for no other. The same
        layout where that is known."""
        if self.log(number).sealed is not None:
            return self
        logs = [msgspec.structs.replace(log, sealed=nr) if log.number == number else log for log in self.logs]
        seals = {log.number: log.sealed for log in logs}
        opened: list[LogSpan] = []
        for log in logs:
            ends = [seals[parent] for parent in log.parents]
            if log.after is None and None not in ends:
                log = msgspec.structs.replace(log, after=max(end for end in ends if end is not None))
            opened.append(log)
        return self._next(_with_heirs(opened, self.slices, self._first_free))

    def cancel(self) -> Layout:
        """Take back all that is planned. Logs that are not sealed go on, and one that is as a log of its own.
        Raises `LayoutError`."""
        if not self.planned:
            raise LayoutError("nothing is planned")
        left = [log for log in self.logs if log.after is not None]
        return self._next(_with_heirs(left, self.slices, self._first_free))

    def _open(self, number: int) -> LogSpan:
        try:
            log = self.log(number)
        except KeyError:
            raise LayoutError(f"there is no log {number}") from None
        if not log.is_open:
            raise LayoutError(f"log {number} is {'planned' if log.after is None else 'sealed'}")
        if self.is_ending(number):
            raise LayoutError(f"log {number} is about to end already: see `logs list`")
        return log

    def _plan(self, parents: Sequence[int], parts: Sequence[tuple[int, Iterable[int]]]) -> list[LogSpan]:
        # A seat of the parents is free when they are sealed, and that of a planned log is taken.
        taken = {log.seat for log in self.logs if log.sealed is None and log.number not in parents}
        seats = [seat for seat, _ in parts]
        if len({*seats}) < len(seats) or taken & {*seats} or not {*seats} <= {*range(self.slices)}:
            raise LayoutError(f"the seats {seats} are not free: taken are {sorted(taken)}, of {self.slices}")
        return [
            LogSpan(number=number, seat=seat, slices=tuple(sorted(slices)), after=None, parents=tuple(parents))
            for number, (seat, slices) in enumerate(parts, self._first_free)
        ]

    @property
    def _first_free(self) -> int:
        return 1 + max(log.number for log in self.logs)

    def _next(self, logs: Iterable[LogSpan]) -> Layout:
        return msgspec.structs.replace(self, version=self.version + 1, logs=tuple(logs))

    def with_hint_key(self, key: str) -> Layout:
        """With a key for hints."""
        return msgspec.structs.replace(self, version=self.version + 1, hint_key=key)


def first_layout(slices: int, logs: int, hint_key: str = "") -> Layout:
    """The layout that a type begins with: `logs` logs, each with as many slices as the others, or one more."""
    logs = max(1, min(logs, slices))
    spans = [LogSpan(number=number, seat=number, slices=tuple(range(number, slices, logs))) for number in range(logs)]
    return Layout(version=1, slices=slices, logs=tuple(spans), hint_key=hint_key)


def _with_heirs(logs: Sequence[LogSpan], slices: int, number: int) -> Sequence[LogSpan]:
    """The logs, and for each sealed one that nothing goes on from another one of the same slices, numbered from
    `number`; at the same seat, if that is free."""
    parents = {parent for log in logs for parent in log.parents}
    taken = {log.seat for log in logs if log.sealed is None}
    heirs: list[LogSpan] = []
    for log in logs:
        if log.sealed is not None and log.number not in parents:
            seat = min({*range(slices)} - taken, key=lambda seat: (seat != log.seat, seat))
            taken.add(seat)
            heir = LogSpan(number=number, seat=seat, slices=log.slices, after=log.sealed, parents=(log.number,))
            heirs.append(heir)
            number += 1
    return [*logs, *heirs]
