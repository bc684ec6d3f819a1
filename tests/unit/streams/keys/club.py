"""A project with one aggregate type, whose members have a name, and were brought along by another one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregates.decider import Decider
from aggregates.personal import Erased, Known, Personal
from schemas.codec import Codec
from schemas.registry import Schemas
from schemas.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Join:
    name: str
    friend: str | None = None
    friend_id: str = ""


@dataclass(frozen=True, slots=True)
class Greet:
    pass


@dataclass(frozen=True, slots=True)
class Joined:
    name: Personal[str]
    friend: Personal[str] | None
    friend_id: str


@dataclass(frozen=True, slots=True)
class Greeted:
    name: Personal[str]


@dataclass(frozen=True, slots=True)
class State:
    name: Personal[str] | None = None
    greetings: int = 0


def decide(command: Join | Greet, state: State) -> list[Joined | Greeted]:
    match command:
        case Join(name, friend, friend_id):
            return [Joined(Known(name), None if friend is None else Known(friend), friend_id)]
        case Greet():
            match state.name:
                case Known():
                    return [Greeted(state.name)]
                case Erased() | None:
                    return []


def evolve(state: State, event: Joined | Greeted) -> State:
    match event:
        case Joined(name):
            return State(name)
        case Greeted():
            return State(state.name, state.greetings + 1)


member = Decider("member", State(), decide, evolve)
REFUSED, POISON = " the Unwelcome", " the Unspeakable"
"""What names end with that `tests.e2e.members` refuses, and over which it raises."""
ITSELF, FRIEND = {"subject": "#id"}, {"subject": "friend_id"}
EVENTS: dict[str, list[dict[str, Any]]] = {
    "Joined": [
        {"name": "name", "type": "bytes", "doc": "Name.", "personal": ITSELF},
        {"name": "friend", "type": ["null", "bytes"], "default": None, "doc": "Name.", "personal": FRIEND},
        {"name": "friend_id", "type": "string", "default": "", "doc": "Member id."},
    ],
    "Greeted": [{"name": "name", "type": "bytes", "doc": "Name.", "personal": ITSELF}],
}
COMMANDS: dict[str, list[dict[str, Any]]] = {
    "Join": [
        {"name": "name", "type": "string", "doc": "Name.", "personal": ITSELF},
        {"name": "friend", "type": ["null", "string"], "default": None, "doc": "Name.", "personal": FRIEND},
        {"name": "friend_id", "type": "string", "default": "", "doc": "Member id."},
    ],
    "Greet": [],
}


def write_schemas(root: Path) -> None:
    """The club's schemas, below a schema root."""
    (root / "member").mkdir(parents=True, exist_ok=True)
    for name, fields in (EVENTS | COMMANDS).items():
        record = {"type": "record", "name": name, "namespace": "club.member", "doc": "It.", "fields": fields}
        (root / "member" / f"{name}.v1.avsc").write_text(json.dumps(record))


def codecs(root: Path, sealer: Sealer | None) -> tuple[Codec, Codec]:
    """Those of events and of commands."""
    write_schemas(root)
    schemas = Schemas.load(root, "member")
    events = [schema for schema in schemas if schema.name in member.events]
    commands = [schema for schema in schemas if schema.name in member.commands]
    return Codec(events, member.events, sealer=sealer), Codec(commands, member.commands)
