"""What a verification finds, and the head of a log that it began with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Repair = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Finding:
    """One disagreement, or a `note`: something worth knowing that is not wrong.

    where   a position, or `<log>:<commit>`, or `<type> <aggregate id>`, or a log
    repair  derives anew what disagrees, and returns a line that says what it did: one for all findings of an aggregate.
            None where the log itself is wrong
    """

    where: str
    what: str
    repair: Repair | None = None
    note: bool = False


@dataclass
class Counts:
    """How much was checked. Snapshots of another version are only counted: this program does not use them."""

    commits: int = 0
    events: int = 0
    aggregates: int = 0
    snapshots: int = 0
    older_snapshots: int = 0


@dataclass
class LogHead:
    """The head of a log when the verification began.

    after            the number behind which the log begins
    nr, derived_nr   the newest commit, and the newest up to which all rows were derived
    lost             commits up to nr that are missing or cannot be read
    grown_to         the newest commit that was seen since
    """

    log: str
    after: int
    nr: int
    derived_nr: int
    lost: set[int] = field(default_factory=set)
    grown_to: int = 0
