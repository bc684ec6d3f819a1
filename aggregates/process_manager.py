"""A process manager: a decider that hears the events of other aggregates, and whose own events send commands.

It coordinates work that no aggregate can decide alone. An event that it hears becomes a command to itself, or nothing.
That command becomes an event in its own journal, and this event alone determines the commands that are sent. So its
state is rebuilt like any other, a repeated event has no second effect, and commands that are sent again are the same.

Source: G. Hohpe, B. Woolf, "Enterprise Integration Patterns" (2003), "Process Manager"; C. Reijn and others for its
event-sourced form.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aggregates.decider import Decider

C = TypeVar("C")
E = TypeVar("E")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class ForeignEvent:
    """An event of another aggregate, from the events topic of its type.

    `source` is the aggregate type and `id` the aggregate. `data` has the fields of the newest version as JSON has them:
    decimals as strings, times in ISO 8601 with `Z`, nested records as mappings.
    """

    source: str
    id: str
    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reaction(Generic[C]):
    """The meaning of a foreign event: a command to the process of this id."""

    process: str
    command: C


@dataclass(frozen=True, slots=True)
class Send:
    """A command to another aggregate: its type, its id, the command's name, and its fields as JSON has them.

    The command's id is derived from the event that causes it, so that sending it again has no second effect.
    `command_id` is for a sender that has announced another id.
    """

    to: str
    id: str
    command: str
    data: Mapping[str, Any] = field(default_factory=dict)
    command_id: str = ""


@dataclass(frozen=True)
class ProcessManager(Generic[C, E, S]):
    """A decider, the events that it hears, and the commands that its events send.

    hears     the names of the foreign events that concern it, by aggregate type; others are skipped unread
    hear      maps such an event to reactions, `[]` for none. Pure, and never raises
    sends     maps a process id and an event of that process to the commands to send. Pure, and never raises
    accepts   the names of its commands that clients may send; the others follow from events only
    sends_to  the aggregate types that its commands go to, as far as known: their topics need not exist yet
    """

    decider: Decider[C, E, S]
    hears: Mapping[str, Sequence[str]]
    hear: Callable[[ForeignEvent], list[Reaction[C]]]
    sends: Callable[[str, E], list[Send]]
    accepts: Sequence[str] = ()
    sends_to: Sequence[str] = ()

    @property
    def type(self) -> str:
        """Its aggregate type."""
        return self.decider.type

    @property
    def commands(self) -> dict[str, builtins.type]:
        """The classes of its commands, by name."""
        return self.decider.commands

    @property
    def events(self) -> dict[str, builtins.type]:
        """The classes of its own events, by name."""
        return self.decider.events
