"""A context whose events have personal fields, and which hears of who was forgotten; CLUB_SCHEMAS names the folder of
its schemas, in which are those of the engine's subjects, too.

Its domain refuses some names, and has a bug: it raises over others, and says them, for as long as the file `mended` is
not in that folder.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aggregates.decider import Decider, Rejected
from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction
from aggregates.subject import subject
from streams.aggregate_type import AggregateType
from streams.app import command_app
from streams.ownership.follower import LogFollower
from streams.timers import follower
from tests.unit.streams.keys import club

SCHEMAS = Path(os.environ["CLUB_SCHEMAS"])
MENDED = SCHEMAS / "mended"


def _decide_member(command: club.Join | club.Greet, state: club.State) -> list[club.Joined | club.Greeted]:
    if isinstance(command, club.Join) and command.name.endswith(club.REFUSED):
        raise Rejected("NotWelcome", "not today")
    if isinstance(command, club.Join) and command.name.endswith(club.POISON) and not MENDED.exists():
        raise ValueError(f"nobody is called {command.name}: {command!r}")
    return club.decide(command, state)


member = replace(club.member, decide=_decide_member)


@dataclass(frozen=True, slots=True)
class SayFarewell:
    erasure: int


@dataclass(frozen=True, slots=True)
class FarewellSaid:
    erasure: int


def _decide(command: SayFarewell, state: int) -> list[FarewellSaid]:
    return [FarewellSaid(command.erasure)] if command.erasure > state else []


def _evolve(state: int, event: FarewellSaid) -> int:
    return event.erasure


def _hear(happened: ForeignEvent) -> list[Reaction[SayFarewell]]:
    return [Reaction(happened.id, SayFarewell(happened.data["erasure"]))]


farewell = ProcessManager(
    Decider("farewell", 0, _decide, _evolve),
    hears={"subject": ("SubjectForgotten",)},
    hear=_hear,
    sends=lambda process, event: [],
)


def follow(context: AggregateType, *rest: Any) -> LogFollower:
    """As `streams.timers` does for its subjects."""
    return follower(context, *rest) if context.decider.type == subject.type else LogFollower()


KINDS = (member, subject, farewell)
app = command_app(__name__, "members", *KINDS, schema_root=SCHEMAS, database="club", new_follower=follow)
