"""A story as it is answered, and the ids by which its parts know each other.

Whatever the engine sends has an id that is made of the position of the event that causes it: `<position>` or
`<position>#<number>` of a process manager, `fire:<position>` of the timer watch. So the way up from a command to its
cause needs no index.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from streams.journal.position import BadPosition, Position, stream_type

FIRED = "fire:"
_NUMBER = re.compile(r"#[0-9]{1,9}$")

Status = Literal["accepted", "unseen", "scheduled", "hidden"]


class StoryEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a story. `unread` says why this worker cannot say what the event has caused."""

    position: str
    sequence: int
    type: str
    time: str
    unread: str | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A command in a story, and the events that its aggregate has decided.

    cause      the position of the event that has caused it; null for one that came from outside
    status     accepted: it is in the journal. unseen: it is not, since it waits in `slice` of its topic, or was
               refused. scheduled: a timer sends it when it is `due`. hidden: whoever asks may not read its context
    time       when it was decided
    principal  who has sent it, where that is known
    """

    type: str
    context: str
    id: str = ""
    command: str = ""
    command_id: str = ""
    cause: str | None
    status: Status
    slice: int | None = None
    time: str | None = None
    due: str | None = None
    principal: str = ""
    events: Sequence[StoryEvent] = ()


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The commands that one from outside has caused, each behind the event that has caused it. `more`: the story is
    longer than what is shown. `trace_url`: the page of its trace, where that is kept and TRACES_URL says of one."""

    id: str
    correlation_id: str
    traceparent: str
    steps: Sequence[Step]
    more: bool
    trace_url: str = ""


class Effect(msgspec.Struct, frozen=True):
    """A command that an event causes. `due`: when a timer sends it."""

    type: str
    id: str
    command: str
    command_id: str
    due: str | None = None


def cause_of(command_id: str) -> Position | None:
    """The position of the event that has caused a command, as its id has it; None for a command from outside. Anybody
    may send a command with such an id: what the event has caused is to be looked at."""
    try:
        return Position.parse(_NUMBER.sub("", command_id.removeprefix(FIRED)))
    except BadPosition:
        return None


def type_at(position: Position) -> str:
    """The aggregate type of the event at a position."""
    return stream_type(position.stream)
