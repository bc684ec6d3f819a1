"""A process manager: a decider that hears the events of others, and whose own events cause commands.

It coordinates what no aggregate can decide alone. What it hears becomes a command to itself, and so an event in its
own journal, or nothing; what follows for others is said by that event alone. So its state is rebuilt like any other,
a repeat of what it heard has no second effect, and the commands that an event causes are the same whenever they are
sent again.

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
    """An event of another aggregate, as it stands on that type's events topic.

    `source` is the aggregate type and `id` the aggregate. `data` has the fields of the newest version as JSON has them:
    decimals as strings, times in ISO 8601 with `Z`, nested records as mappings.
    """

    source: str
    id: str
    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reaction(Generic[C]):
    """What an event means here: a command to the process of this id."""

    process: str
    command: C


@dataclass(frozen=True, slots=True)
class Send:
    """A command to another aggregate: its type, its id, the command's name, and its fields as JSON has them.

    The command's id is made of the event that causes it, so that sending it again has no second effect; `command_id` is
    for who has promised another.
    """

    to: str
    id: str
    command: str
    data: Mapping[str, Any] = field(default_factory=dict)
    command_id: str = ""


@dataclass(frozen=True)
class ProcessManager(Generic[C, E, S]):
    """A decider, what it hears, and what its events send.

    hears     by aggregate type the names of the events that concern it; others are skipped unread
    hear      an event of these to what it means, `[]` for nothing. Pure, and never raises
    sends     an event of its own, of the process of this id, to the commands that it causes. Pure, and never raises
    accepts   the names of its commands that clients may send themselves; the others follow from events only
    sends_to  the aggregate types that its commands go to, where they are known: these need not be there yet
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
        """The classes of what it is told, by name."""
        return self.decider.commands

    @property
    def events(self) -> dict[str, builtins.type]:
        """The classes of its own events, by name."""
        return self.decider.events
