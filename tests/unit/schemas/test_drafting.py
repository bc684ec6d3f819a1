"""Schemas that are written from classes."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import fastavro
import pytest

from aggregates import timer
from aggregates.decider import Decider
from aggregates.process_manager import ProcessManager
from aggregates.shop import checkout, email, order, product, user
from schemas.drafting.merging import Merger
from schemas.drafting.plan import Plan, plan, renamed_of
from schemas.drafting.text import text_of
from schemas.drafting.types import record_of
from schemas.registry import SchemaError, Schemas, root_folder
from schemas.release import check, lock
from schemas.release.contract import Contract

TYPES: list[tuple[str, Any]] = [
    ("shop", order.order),
    ("shop", product.product),
    ("shop", user.user),
    ("shop", email.email),
    ("shop", checkout.checkout),
    ("engine", timer.timer),
]
NUMBERS = count()

HEAD = """
from __future__ import annotations
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID
from msgspec import Meta
from aggregates.decider import Decider
from aggregates.digits import Digits
"""
TAIL = """
@dataclass(frozen=True)
class Do:
    pass

@dataclass(frozen=True)
class State:
    done: bool = False

def decide(command: Do, state: State) -> list[Done]:
    return []

def evolve(state: State, event: Done) -> State:
    return state

box = Decider("box", State(), decide, evolve)
"""
DONE = '''
@dataclass(frozen=True)
class Done:
    """It is done."""

    what: str
    """What was done."""
'''


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Makes a module of a text, with its source in a file, since what is said stands there."""
    made: list[str] = []

    def make(text: str) -> ModuleType:
        name = f"drafted_{next(NUMBERS)}"
        path = tmp_path / f"{name}.py"
        path.write_text(HEAD + text + TAIL)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        loaded = sys.modules[name] = importlib.util.module_from_spec(spec)
        made.append(name)
        spec.loader.exec_module(loaded)
        return loaded

    yield make
    for name in made:
        del sys.modules[name]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "boxes" / "schemas"


def release(root: Path, made: Plan) -> None:
    made.write()
    path = root / lock.FILE
    contract = Contract(made.decider, Schemas.load(root, "box"))
    lock.write_lock(path, check.release([contract], lock.read_lock(path))[0])


def told(schema: Any) -> Any:
    """A schema without what only history can say: aliases, declarations, defaults that are those of older events."""
    if isinstance(schema, dict):
        return {key: told(value) for key, value in schema.items() if key not in ("doc", "aliases", "compatibility")}
    return [told(item) for item in schema] if isinstance(schema, list) else schema


def decider_of(kind: Any) -> Decider[Any, Any, Any]:
    return kind.decider if isinstance(kind, ProcessManager) else kind


def test_every_file_is_in_the_form_that_is_written() -> None:
    """A file that was typed by hand and one that is written do not differ in form."""
    files = [path for root, _ in TYPES for path in Path(str(root_folder(root))).glob("*/*.avsc")]
    assert len(files) > 70
    assert [] == [path for path in files if text_of(json.loads(path.read_text())) != path.read_text()]


@pytest.mark.parametrize(("root", "kind"), TYPES, ids=lambda it: getattr(it, "type", it))
def test_classes_say_what_the_files_of_today_say(root: str, kind: Any) -> None:
    """What is drafted without any file is the newest version of today, but for its docs and what its history says."""
    decider, differ = decider_of(kind), []
    for name, class_ in (decider.commands | decider.events).items():
        newest = Schemas.load(root, decider.type).newest(name)
        of_today = json.loads(
            (Path(str(root_folder(root))) / decider.type / f"{name}.v{newest.version}.avsc").read_text()
        )
        drafted = Merger({}, {}).record(record_of(class_, f"{root}.{decider.type}"), None)
        if text_of(told(drafted)) != text_of(told(of_today)):
            differ.append(name)
    # The one's list has a default for events that had none, the other's symbols one for those to come. What is personal
    # in a command is marked in its file: it is not sealed, and its class has the value itself.
    known = {"product": ["ProductDefined", "StockRefused"], "user": ["RegisterUser", "ChangeEmail"]}
    assert known.get(decider.type, []) == differ


@pytest.mark.parametrize(("root", "kind"), TYPES, ids=lambda it: getattr(it, "type", it))
def test_nothing_to_write(root: str, kind: Any) -> None:
    """Where files and classes fit, nothing is written."""
    assert () == plan(decider_of(kind), root).drafts


def test_types(module: Callable[[str], ModuleType]) -> None:
    """Each type of Python has one of Avro, and what is said of it stands in the schema."""
    made = module(
        '''
Kind = Literal["big", "small"]
"""How large it is."""
Length = NewType("Length", int)

class Color(Enum):
    """Its paint."""
    RED = "red"

@dataclass(frozen=True)
class Place:
    """Where."""
    street: str

@dataclass(frozen=True)
class Done:
    """It is done.

    More than the first paragraph is for readers of the code.
    """

    flag: bool
    count: int
    ratio: float
    text: str
    """Any
    text."""
    data: bytes
    costs: Decimal
    rent: Annotated[Decimal, Digits(12, 2)]
    at: datetime
    day: date
    hour: time
    id: UUID
    kind: Kind
    other_kind: Literal["a", "b"]
    color: Color
    length: Annotated[Length, Meta(description="In metres.")]
    places: tuple[Place, ...]
    by_name: dict[str, list[Place]]
    either: str | int
    perhaps: Place | None
    names: list[str] = field(default_factory=list)
    rest: Decimal = Decimal("-1.5")
    since: datetime = datetime(1970, 1, 2, tzinfo=UTC)
    none_or: int | None = 3
'''
    )
    record = Merger({}, {}).record(record_of(made.Done, "boxes.box"), None)
    fastavro.parse_schema(record)
    kinds = {field["name"]: field["type"] for field in record["fields"]}
    docs = {field["name"]: field["doc"] for field in record["fields"]}
    defaults = {field["name"]: field["default"] for field in record["fields"] if "default" in field}
    place = {
        "type": "record",
        "name": "Place",
        "doc": "Where.",
        "fields": [{"name": "street", "type": "string", "doc": "Street."}],
    }
    assert "It is done." == record["doc"]
    assert {
        "flag": "boolean",
        "count": "long",
        "ratio": "double",
        "text": "string",
        "data": "bytes",
        "costs": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4},
        "rent": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
        "at": {"type": "long", "logicalType": "timestamp-millis"},
        "day": {"type": "int", "logicalType": "date"},
        "hour": {"type": "int", "logicalType": "time-millis"},
        "id": {"type": "string", "logicalType": "uuid"},
        "kind": {"type": "enum", "name": "Kind", "doc": "How large it is.", "symbols": ["big", "small"]},
        "other_kind": {"type": "enum", "name": "DoneOtherKind", "symbols": ["a", "b"]},
        "color": {"type": "enum", "name": "Color", "doc": "Its paint.", "symbols": ["red"]},
        "length": "long",
        "places": {"type": "array", "items": place},
        "by_name": {"type": "map", "values": {"type": "array", "items": "Place"}},
        "either": ["string", "long"],
        "perhaps": ["null", "Place"],
        "names": {"type": "array", "items": "string"},
        "rest": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4},
        "since": {"type": "long", "logicalType": "timestamp-millis"},
        "none_or": ["long", "null"],
    } == kinds
    assert ("Any text.", "In metres.", "Other kind.") == (docs["text"], docs["length"], docs["other_kind"])
    assert {"perhaps": None, "names": [], "rest": "Åh", "since": 86_400_000, "none_or": 3} == defaults
    assert [True] == [field["approximate"] for field in record["fields"] if "approximate" in field]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("what: Any", "Done.what: Any has no type in Avro"),
        ("what: complex", "Done.what: complex has no type in Avro"),
        ("what: list", "Done.what: list has no type in Avro"),
        ("what: dict[int, str]", "Done.what: the keys of a map are text"),
        ("what: tuple[int, str]", "Done.what: Avro has no tuple of 2"),
        ('what: Literal["a-b"]', "Done.what: an enum of Avro has names"),
        ("what: Literal[1, 2]", "Done.what: an enum of Avro has names"),
        ("what: Done | None", "Done.what: Done holds itself"),
        ("what: Unknown", "Done: name 'Unknown' is not defined"),
        ('what: Decimal = Decimal("0.00001")', "Done.what: its default 0.00001 has more digits"),
        ("what: datetime = datetime(2020, 1, 1)", "Done.what: its default datetime"),
    ],
)
def test_what_has_no_type(module: Callable[[str], ModuleType], field: str, said: str) -> None:
    """A class that no schema can describe is refused, with the place and a way out."""
    made = module(f"\n@dataclass(frozen=True)\nclass Done:\n    {field}\n")
    with pytest.raises(SchemaError) as error:
        Merger({}, {}).record(record_of(made.Done, "boxes.box"), None)
    assert said in str(error.value)


def test_the_first_version(module: Callable[[str], ModuleType], root: Path) -> None:
    """A new project needs no file: what is written passes the check, and written again nothing is left to write."""
    box = module(DONE).box
    first = plan(box, root)
    assert ["box/Do.v1.avsc", "box/Done.v1.avsc"] == [draft.file for draft in first.drafts]
    assert [] == first.problems
    assert ("Do",) == first.drafts[0].unsaid  # a text would say more than its name does
    first.write()
    assert json.loads((root / "box" / "Done.v1.avsc").read_text()) == {
        "type": "record",
        "name": "Done",
        "namespace": "boxes.box",
        "doc": "It is done.",
        "fields": [{"name": "what", "type": "string", "doc": "What was done."}],
    }
    assert '"doc": "Command: do."' in (root / "box" / "Do.v1.avsc").read_text()
    assert () == plan(box, root).drafts


def test_what_is_not_released_is_written_anew(module: Callable[[str], ModuleType], root: Path) -> None:
    """Nobody has stored it; what the class leaves open stays as somebody has typed it."""
    plan(module(DONE).box, root).write()
    path = root / "box" / "Do.v1.avsc"
    path.write_text(path.read_text().replace("Command: do.", "Command: do it at once."))
    changed = plan(module(DONE + "    note: str = ''\n").box, root)
    assert ["box/Done.v1.avsc"] == [draft.file for draft in changed.drafts]
    changed.write()
    assert '"default": ""' in (root / "box" / "Done.v1.avsc").read_text()
    assert "Command: do it at once." in path.read_text()


def test_a_class_that_is_gone(module: Callable[[str], ModuleType], root: Path) -> None:
    """Its schema is a problem; where nothing is released it may be removed, and a released one stays."""
    box = module(DONE).box
    plan(box, root).write()
    do, undo = root / "box" / "Do.v1.avsc", root / "box" / "Undo.v1.avsc"
    undo.write_text(do.read_text().replace('"Do"', '"Undo"'))
    found = plan(box, root)
    assert (("box/Undo.v1.avsc",), 1) == (found.unused, len(found.problems))
    found.write()
    assert undo.exists()
    found.cleared().write()
    assert ([], False, True) == (found.cleared().problems, undo.exists(), do.exists())
    release(root, plan(box, root))
    undo.write_text(do.read_text().replace('"Do"', '"Undo"'))
    (root / lock.FILE).write_text((root / lock.FILE).read_text().replace("box/Do.v1.avsc", "box/Undo.v1.avsc"))
    assert () == plan(box, root).unused


def test_the_next_version(module: Callable[[str], ModuleType], root: Path) -> None:
    """What is released stays; the next version says what it changes, and what it needs."""
    release(root, plan(module(DONE).box, root))
    before = (root / "box" / "Done.v1.avsc").read_bytes()
    fits = plan(module(DONE + "    note: str = ''\n").box, root)
    assert [("box/Done.v2.avsc: next version", 'note is new; v1 reads as ""')] == [it.meaning for it in fits.drafts]
    assert [] == fits.problems
    lacks = plan(module(DONE + "    note: str\n").box, root)
    assert "note is new, and v1 says nothing of it" == lacks.drafts[0].meaning[1]
    assert 'yield Upcasted("Done", 2, {"what": fields["what"], "note": ...})' in lacks.drafts[0].upcaster
    assert ["give it a default, or add an upcaster for Done.v1 to upcasters.py"] == [it.do for it in lacks.problems]
    lacks.write()
    assert before == (root / "box" / "Done.v1.avsc").read_bytes()


def test_a_field_is_renamed(module: Callable[[str], ModuleType], root: Path) -> None:
    """By its alias, and older workers stop at it, as they would not find the field."""
    release(root, plan(module(DONE).box, root))
    made = plan(module(DONE.replace("what:", "deed:")).box, root, renamed_of(["Done.what=deed"]))
    [draft] = made.drafts
    assert "deed was what: read by its alias" in draft.meaning
    assert ("BACKWARD", ["what"]) == (draft.schema.compatibility, json.loads(draft.text)["fields"][0]["aliases"])
    assert [] == made.problems


def test_a_record_is_renamed(module: Callable[[str], ModuleType], root: Path) -> None:
    """Events of the old name are read by the alias; a class that is gone otherwise is pointed out."""
    release(root, plan(module(DONE).box, root))
    finished = module(DONE.replace("class Done", "class Finished") + "\nDone = Finished\n").box
    unsaid = plan(finished, root)
    assert "--renamed Done=Finished" in unsaid.drafts[0].meaning[1]
    assert ["no command or event of box is a Done"] == [it.what for it in unsaid.problems]
    said = plan(finished, root, renamed_of(["Done=Finished"]))
    assert (["Done"], []) == (json.loads(said.drafts[0].text)["aliases"], said.problems)


def test_other_changes(module: Callable[[str], ModuleType], root: Path) -> None:
    """Of a type, an enum, a nested value and of what is gone."""
    text = """
@dataclass(frozen=True)
class Part:
    name: str

@dataclass(frozen=True)
class Done:
    count: int
    kind: Literal["a", "b"]
    parts: tuple[Part, ...]
    gone: str | None
"""
    release(root, plan(module(text).box, root))
    changed = (
        text.replace("count: int", "count: str")
        .replace('"a", "b"', '"a", "b", "c"')
        .replace("    gone: str | None\n", "")
    )
    [draft] = plan(module(changed.replace("name: str", "name: str\n    nr: int = 0")).box, root).drafts
    assert draft.meaning[1:] == (
        "count is string, and was long",
        "kind is one of a, b, c, and was one of a, b",
        "parts[].nr is new; v1 reads as 0",
        "gone is gone; code of v1 reads null",
        '"compatibility": "BACKWARD": workers that know only v1 stop at it and wait for newer ones',
    )


def test_taken_back(module: Callable[[str], ModuleType], root: Path) -> None:
    """A version that nobody needs any more is pointed out, since two with the same fields are no versions."""
    release(root, plan(module(DONE).box, root))
    plan(module(DONE + "    note: str = ''\n").box, root).write()
    back = plan(module(DONE).box, root)
    assert ((), ["delete this file"]) == (back.drafts, [it.do for it in back.problems][:1])


def test_what_a_file_may_say_otherwise(module: Callable[[str], ModuleType], root: Path) -> None:
    """An int of 32 bits, microseconds and the digits of a decimal are kept where a file has them."""
    text = "\n@dataclass(frozen=True)\nclass Done:\n    count: int\n    at: datetime\n    costs: Decimal\n"
    plan(module(text).box, root).write()
    path = root / "box" / "Done.v1.avsc"
    typed = (
        path.read_text()
        .replace('{"name": "count", "type": "long"', '{"name": "count", "type": "int"')
        .replace("timestamp-millis", "timestamp-micros")
        .replace('"scale": 4', '"scale": 2')
    )
    path.write_text(typed)
    assert () == plan(module(text).box, root).drafts
    [draft] = plan(module(text.replace("costs: Decimal", "costs: Annotated[Decimal, Digits(18, 3)]")).box, root).drafts
    assert typed.replace('"scale": 2', '"scale": 3') == draft.text


def test_names_of_what_was_renamed() -> None:
    """As they are said on the command line."""
    assert {"": {"New": "Old"}, "Done": {"deed": "what"}} == renamed_of(["Old=New", "Done.what=deed"])
    for wrong in ("Old", "Old=", "a-b=c", "A.b.c=d", "=New"):
        with pytest.raises(SchemaError, match="write Old=New for a record"):
            renamed_of([wrong])
