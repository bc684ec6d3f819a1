"""The system as it was at one moment: what the rules look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from projections.operations.status import ProjectionStatus
from streams.notices import Notice
from streams.processes.router import InputPosition
from streams.web.lag import StreamLag
from streams.web.owners import LogStatus


class CommandWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker of the write side: a member of the consumer group of its context.

    url       where it listens; empty for one that is joining just now
    fault     why it has not said how it is; empty when it has
    app       the app that it was started with
    troubles  what keeps it from being ready; empty when it is
    owned     the logs that are placed in it
    inputs    the events topics that its process managers hear
    notices   what it has said that somebody should know of
    """

    url: str
    fault: str = ""
    app: str = ""
    troubles: str = ""
    owned: Sequence[LogStatus] = ()
    inputs: Sequence[InputPosition] = ()
    notices: Sequence[Notice] = ()


class Takeover(msgspec.Struct, frozen=True, kw_only=True):
    """A log that has changed hands.

    by, former    where its worker listens, and the one before, or that one's host and process; empty: nobody
    seconds       that it took
    idle_seconds  since the last commit of the one before; null where there was none
    """

    log: str
    epoch: int
    at: datetime
    seconds: float
    by: str
    former: str
    idle_seconds: float | None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A bounded context: its aggregate types, the logs that these have, and its workers.

    app     the one that its workers are started with, as far as one of them has ever said so
    fault   why its workers are not known; empty when they are
    takeovers    of its logs in the last hour, the newest first, as far as they were seen
    """

    name: str
    types: Sequence[str]
    logs: Sequence[str]
    workers: Sequence[CommandWorker] = ()
    app: str = ""
    fault: str = ""
    takeovers: Sequence[Takeover] = ()


class ReadWorker(msgspec.Struct, frozen=True):
    """A worker of the read side: what keeps it from being ready, what it serves less of than it might, the timer
    that is due first of those whose rows it has, and what it has said that somebody should know of."""

    url: str
    troubles: Mapping[str, str] = {}
    limits: Sequence[str] = ()
    first_due: str | None = None
    notices: Sequence[Notice] = ()


class TailWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker of the tail, where that runs apart: what it has said that somebody should know of, or, in `fault`, why
    it has not told us."""

    url: str
    fault: str = ""
    notices: Sequence[Notice] = ()


class LetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters that are alike: of one type, command and failure.

    first, last   the times of the oldest and the newest of them
    example       the place of the newest, `3:17`, and `message`: what it says of its failure
    """

    type: str
    command: str
    failure: str
    count: int
    first: datetime | None
    last: datetime | None
    example: str
    message: str


class QuarantinedAggregate(msgspec.Struct, frozen=True, kw_only=True):
    """An aggregate whose commands wait since one of them made the domain raise, whose dead letter is at `letter`:
    `command_id` is the one that raised."""

    type: str
    id: str
    since: datetime
    waiting: int
    reason: str
    letter: str
    command_id: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known at a moment.

    app     the one that has looked
    faults  by check why there was no looking
    """

    at: datetime
    app: str = ""
    contexts: Sequence[Context] = ()
    streams: Sequence[StreamLag] = ()
    projections: Sequence[ProjectionStatus] = ()
    workers: Sequence[ReadWorker] = ()
    tails: Sequence[TailWorker] = ()
    letters: Sequence[LetterGroup] = ()
    quarantined: Sequence[QuarantinedAggregate] = ()
    faults: Mapping[str, str] = {}

    def context_of(self, type: str) -> Context | None:
        """The context of an aggregate type."""
        return next((context for context in self.contexts if type in context.types), None)

    def app_of(self, type: str) -> str:
        """The app that decides the commands of a type; empty where no worker has said so."""
        context = self.context_of(type)
        return context.app if context is not None else ""
