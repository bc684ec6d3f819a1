"""Marks of personal fields are checked and locked: what was promised to be forgotten is not written in the clear."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from aggregates.decider import Decider
from aggregates.personal import Erased, Known, Personal, blind
from schemas.registry import Schemas
from schemas.release import check, lock
from schemas.release.contract import Contract


@dataclass(frozen=True, slots=True)
class Join:
    name: str
    nickname: str | None


@dataclass(frozen=True, slots=True)
class Joined:
    name: Personal[str]
    nickname: Personal[str] | None
    referrer: str
    country: str


@dataclass(frozen=True, slots=True)
class State:
    name: Personal[str] | None = None


def decide(command: Join, state: State) -> list[Joined]:
    return [Joined(Known(command.name), None, "", "France")]


def evolve(state: State, event: Joined) -> State:
    return State(event.name)


MARK = {"personal": {"subject": "#id"}}
JOINED: list[dict[str, Any]] = [
    {"name": "name", "type": "bytes", "doc": "Name.", **MARK},
    {
        "name": "nickname",
        "type": ["null", "bytes"],
        "default": None,
        "doc": "Name.",
        "personal": {"subject": "referrer"},
    },
    {"name": "referrer", "type": "string", "doc": "Member id."},
    {"name": "country", "type": "string", "doc": "Country."},
]
JOIN: list[dict[str, Any]] = [
    {"name": "name", "type": "string", "doc": "Name.", **MARK},
    {"name": "nickname", "type": ["null", "string"], "doc": "Name.", **MARK},
]


class Club:
    """A project with one aggregate type, whose members have names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "member").mkdir(parents=True)
        self.decider = Decider("member", State(), decide, evolve)
        self.write("Joined.v1", JOINED)
        self.write("Join.v1", JOIN)
        released = lock.read_lock(folder / lock.FILE)
        lock.write_lock(folder / lock.FILE, check.release([self.contract], released)[0])

    @property
    def contract(self) -> Contract:
        return Contract(self.decider, Schemas.load(self.folder, "member"))

    def write(self, file: str, fields: list[dict[str, Any]], **attributes: Any) -> None:
        record = {"type": "record", "name": file.partition(".")[0], "namespace": "club.member", "doc": "It."}
        (self.folder / "member" / f"{file}.avsc").write_text(json.dumps({**record, **attributes, "fields": fields}))

    def problems(self) -> list[str]:
        """All that is wrong, but for what is not released yet."""
        return [str(it) for it in check.may_be_locked([self.contract], lock.read_lock(self.folder / lock.FILE))]


@pytest.fixture
def club(tmp_path: Path) -> Club:
    """The club, whose schemas are released."""
    return Club(tmp_path / "club")


def without(fields: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in field.items() if field["name"] != name or k != "personal"} for field in fields]


def changed(name: str, **attributes: Any) -> list[dict[str, Any]]:
    return [{**field, **attributes} if field["name"] == name else field for field in JOINED]


def test_marks_as_they_are_to_be(club: Club) -> None:
    """Marked fields of an event and of a command pass, and the lock has their marks."""
    assert club.problems() == []
    versions = lock.read_lock(club.folder / lock.FILE).versions
    assert versions["member/Joined.v1.avsc"].marks == ("name=#id", "nickname=referrer")
    assert check.check([club.contract], lock.read_lock(club.folder / lock.FILE)) == []


def next_version(fields: list[dict[str, Any]]) -> Callable[[Club], None]:
    def write(club: Club) -> None:
        club.write("Joined.v2", [*fields, {"name": "more", "type": "string", "default": "", "doc": "More."}])
        types = {**get_type_hints(Joined), "more": str}
        club.decider.__dict__["events"] = {"Joined": make_dataclass("Joined", types.items())}

    return write


REFUSED: dict[str, tuple[Callable[[Club], None], str]] = {
    "taken away from a released event": (
        lambda club: club.write("Joined.v1", without(JOINED, "name")),
        "is released with a mark: name is personal, its subject is #id",
    ),
    "taken away in a new version": (
        next_version(without(JOINED, "name")),
        "name was personal in version 1, and is not marked any more",
    ),
    "another subject": (
        lambda club: club.write("Joined.v1", changed("name", personal={"subject": "referrer"})),
        "is released with a mark: name is personal, its subject is #id",
    ),
    "taken away from a command": (
        lambda club: club.write("Join.v1", without(JOIN, "name")),
        "is released with a mark: name is personal, its subject is #id",
    ),
    "on a key": (
        lambda club: club.write("Joined.v1", changed("referrer", type="bytes", **MARK)),
        "referrer is marked as personal, and is a key",
    ),
    "on an id": (
        lambda club: club.write("Left.v1", [{"name": "user_id", "type": "bytes", "doc": "Id.", **MARK}]),
        "user_id is marked as personal, and is a key",
    ),
    "a subject that is personal": (
        lambda club: club.write("Joined.v1", changed("nickname", personal={"subject": "name"})),
        "the subject of nickname is name, which is personal itself",
    ),
    "a subject that is no field": (
        lambda club: club.write("Joined.v1", changed("nickname", personal={"subject": "nobody"})),
        "the subject of nickname is nobody, which is no field of the type string",
    ),
    "a subject that may be missing": (
        lambda club: club.write("Joined.v1", changed("referrer", type=["null", "string"])),
        "the subject of nickname is referrer, which is no field of the type string",
    ),
    "no mark": (
        lambda club: club.write("Joined.v1", changed("name", personal=True)),
        "the mark of name is none",
    ),
    "in the clear": (
        lambda club: club.write("Joined.v1", changed("name", type="string")),
        "name is personal, and of the type string",
    ),
    "a name that changes": (
        lambda club: club.write("Joined.v1", changed("name", aliases=["called"])),
        "name is personal, and has an alias",
    ),
    "only in the class": (
        lambda club: club.write("Joined.v1", without(JOINED, "name")),
        "name is Personal in the class Joined, and has no mark here",
    ),
    "only in the schema": (
        lambda club: club.write("Joined.v1", changed("country", type="bytes", **MARK)),
        "country",
    ),
    "within a record": (
        lambda club: club.write(
            "Left.v1",
            [
                {
                    "name": "at",
                    "doc": "At.",
                    "type": {"type": "record", "name": "At", "doc": "At.", "fields": JOINED[:1]},
                }
            ],
        ),
        "name of At, which is within it, is marked",
    ),
    "sealed from a new version on, which older code would take for text": (
        next_version(changed("country", type="bytes", **MARK)),
        "code that knows only version 1 cannot read it: country is sealed in it",
    ),
    "added to a released event": (
        lambda club: club.write("Joined.v1", changed("country", **MARK)),
        "is released, and its field country has no mark there",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(club: Club, name: str) -> None:
    """A mark that is taken away, or that nobody could keep, is refused, with what to do."""
    change, what = REFUSED[name]
    change(club)
    problems = club.problems()
    assert any(what in problem and "\n    " in problem for problem in problems), problems


def test_a_command_may_be_marked_later(club: Club) -> None:
    """A mark changes nothing of how a command is read: it may be added to a released one, and is locked then."""
    club.write("Join.v1", without(JOIN, "nickname"))
    path = club.folder / lock.FILE
    lock.write_lock(path, check.release([club.contract], lock.Lock())[0])
    club.write("Join.v1", JOIN)
    assert club.problems() == []
    [problem] = check.check([club.contract], lock.read_lock(path))
    assert "is not released" in problem.what
    lock.write_lock(path, check.release([club.contract], lock.read_lock(path))[0])
    assert check.check([club.contract], lock.read_lock(path)) == []


def test_a_value_shows_itself_to_nobody() -> None:
    """What prints an event, or what holds it, does not have the value."""
    event = Joined(Known("Ada"), Erased(), "", "France")
    assert "Ada" not in f"{event} {event!r} {Known('Ada')}"
    assert event == Joined(Known("Ada"), Erased(), "", "France")
    assert event != Joined(Known("Eve"), Erased(), "", "France")
    match event.name:
        case Known(name):
            assert name == "Ada"
        case Erased():
            pytest.fail("it is known")


def test_a_blind_id_is_the_same_for_ever() -> None:
    """The same text has the same id, and another text another one, which does not hold the text."""
    assert blind("ada@example.org") == blind("ada@example.org") != blind("eve@example.org")
    assert len(blind("ada@example.org")) == 32
