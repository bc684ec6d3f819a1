"""What a handler says of one command, and the commit that it says it for."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from datetime import datetime

from streams.deciding.messages import Envelope, Failure, Reply
from streams.journal.port import RecordedEvent

MESSAGE_CHARACTERS = 1024
TRACE_CHARACTERS = 8 * 1024
"""Of what the domain raised and of its stack trace, for the dead letter; of the trace the end, which says where."""


@dataclass(slots=True)
class PendingCommit:
    """A commit in the making: its number and time, and the newest commit that holds an event, this one included."""

    nr: int
    eventful_nr: int
    time: datetime


@dataclass(slots=True)
class Verdict:
    """What became of one command: its reply, the rows to record, and for a failure the reason to keep.

    `reply` is None when it gets none yet. A verdict that is not `final` leaves more to be decided on behalf of the
    message that the owner is about.
    """

    envelope: Envelope
    reply: Reply | None
    rows: list[RecordedEvent] = field(default_factory=list)
    failure: Failure | None = None
    final: bool = True


def domain_error(bug: BaseException) -> Failure:
    """The failure of a command over which the domain raised."""
    # Not str(bug): a bug may raise there as well, or give what is no UTF-8, or a novel.
    told = traceback.TracebackException.from_exception(bug)
    # Its first line alone: the rest is for who mends it, and stands in the trace.
    first = str(told).partition("\n")[0]
    message = f"{type(bug).__name__}: {first}"[:MESSAGE_CHARACTERS].encode(errors="replace").decode()
    return Failure("DomainError", message, "".join(told.format())[-TRACE_CHARACTERS:])
