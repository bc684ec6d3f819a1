"""What was written by older and newer code is read as the newest version that this code knows, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from schemas.codec import Codec, Undecodable
from schemas.formats import AVRO, FORMATS, Format
from schemas.registry import Schema, SchemaError, Schemas
from schemas.upcasting import Fields, Upcasted, Upcaster, dropped


def schema(name: str, version: int, *fields: tuple[str, Any] | tuple[str, Any, Any], **attributes: Any) -> Schema:
    """A version of a record; a field is a name, a type and perhaps a default."""
    described = [{"name": name, "type": type} | ({"default": rest[0]} if rest else {}) for name, type, *rest in fields]
    record = {"type": "record", "name": name, "namespace": "test", "fields": described, **attributes}
    return Schema.parse(json.dumps(record), version)


@dataclass(frozen=True)
class Moved:
    distance: int
    unit: str


@dataclass(frozen=True)
class Turned:
    degrees: int


CLASSES: dict[str, type] = {"Moved": Moved, "Turned": Turned}
MOVED_1 = schema("Moved", 1, ("steps", "long"), ("degrees", ["null", "long"], None))
MOVED_2 = schema("Moved", 2, ("distance", "long"), compatibility="BACKWARD")
MOVED_3 = schema("Moved", 3, ("distance", "long"), ("unit", "string", "cm"))
TURNED = schema("Turned", 1, ("degrees", "long"))
ALL = [MOVED_1, MOVED_2, MOVED_3, TURNED]


def split(fields: Fields) -> Iterable[Upcasted]:
    """A step is 70 cm, and a turn has become an event of its own."""
    if fields["steps"]:
        yield Upcasted("Moved", 2, {"distance": fields["steps"] * 70})
    if fields["degrees"] is not None:
        yield Upcasted("Turned", 1, {"degrees": fields["degrees"]})


SPLIT = Upcaster("Moved", 1, split)

formats = pytest.mark.parametrize("format", FORMATS.values(), ids=[format.name for format in FORMATS.values()])


@formats
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"steps": 2, "degrees": None}, (Moved(140, "cm"),)),
        ({"steps": 2, "degrees": 90}, (Moved(140, "cm"), Turned(90))),
        ({"steps": 0, "degrees": 90}, (Turned(90),)),
        ({"steps": 0, "degrees": None}, ()),
    ],
)
def test_one_becomes_several(format: Format, fields: Fields, expected: tuple[object, ...]) -> None:
    """A stored event is one, two or no events today; what an upcaster makes goes on to the newest version by itself."""
    codec = Codec(ALL, CLASSES, [SPLIT])
    data = format.writer(MOVED_1)(fields)
    assert expected == codec.decode(data)
    assert [type(one).__name__ for one in expected] == [schema.name for schema, _ in codec.decode_to_builtins(data)]
    assert (MOVED_1, fields) == codec.decode_as_written(data)


@formats
def test_versions_behind_the_upcaster_are_left_alone(format: Format) -> None:
    """An upcaster is for one version only: what a later one wrote goes by Avro's rules."""
    codec = Codec(ALL, CLASSES, [SPLIT])
    assert (Moved(5, "cm"),) == codec.decode(format.writer(MOVED_2)({"distance": 5}))
    assert (Moved(5, "m"),) == codec.decode(codec.encode(Moved(5, "m")))


def test_one_object_is_wanted() -> None:
    """Where exactly one object must come of it, several or none are refused."""
    codec = Codec(ALL, CLASSES, [SPLIT])
    with pytest.raises(Undecodable, match=r"test\.Moved stands for 2 objects now"):
        codec.decode_one(AVRO.writer(MOVED_1)({"steps": 1, "degrees": 1}))


def test_upcasters_in_a_row() -> None:
    """What an upcaster makes is upcasted again where its version has an upcaster too."""

    def to_metres(fields: Fields) -> Iterable[Upcasted]:
        return [Upcasted("Moved", 4, {"metres": fields["distance"] // 100})]

    @dataclass(frozen=True)
    class Moved:
        metres: int

    newest = schema("Moved", 4, ("metres", "long"), compatibility="BACKWARD")
    classes = {"Moved": Moved, "Turned": Turned}
    codec = Codec([*ALL, newest], classes, [SPLIT, Upcaster("Moved", 3, to_metres)])
    assert (Moved(7), Turned(1)) == codec.decode(AVRO.writer(MOVED_1)({"steps": 10, "degrees": 1}))
    assert (Moved(3),) == codec.decode(AVRO.writer(MOVED_2)({"distance": 345}))


def test_a_dropped_event_is_nothing() -> None:
    """An event type that no code needs any more needs no class either."""
    codec = Codec([TURNED, *ALL[:3]], {"Moved": Moved}, [SPLIT, Upcaster("Turned", 1, dropped)])
    assert () == codec.decode(AVRO.writer(TURNED)({"degrees": 1}))
    assert (Moved(70, "cm"),) == codec.decode(AVRO.writer(MOVED_1)({"steps": 1, "degrees": 1}))


@formats
def test_a_renamed_event_is_read_under_its_new_name(format: Format) -> None:
    """An alias is the name that an event had before; its versions may go on under the new one."""

    @dataclass(frozen=True)
    class Rotated:
        degrees: int
        axis: str

    first = schema("Rotated", 1, ("degrees", "long"), aliases=["Turned"])
    second = schema("Rotated", 2, ("degrees", "long"), ("axis", "string", "z"), aliases=["Turned"])
    codec = Codec([TURNED, first, second], {"Rotated": Rotated})
    assert (Rotated(9, "z"),) == codec.decode(format.writer(TURNED)({"degrees": 9}))
    assert "Turned" == codec.schema_of(format.writer(TURNED)({"degrees": 9})).name


@pytest.mark.parametrize(
    ("made", "error"),
    [
        ([Upcasted("Moved", 9, {})], r"makes a Moved\.v9, which has no schema"),
        ([Upcasted("Moved", 1, {})], r"makes a Moved\.v1, which is where it began"),
        ([Upcasted("Moved", 3, {"distance": "far"})], r"not a test\.Moved"),
        ([Upcasted("Moved", 2, {})], r"the upcaster of Moved\.v1 makes a Moved\.v2 that does not fit"),
        (None, r"the upcaster of Moved\.v1 raised"),
    ],
)
def test_a_wrong_upcaster_is_named(made: Any, error: str) -> None:
    """What an upcaster does wrong is undecodable, and the message says which upcaster it is."""
    codec = Codec(ALL, CLASSES, [Upcaster("Moved", 1, lambda fields: made)])
    with pytest.raises(Undecodable, match=error):
        codec.decode(AVRO.writer(MOVED_1)({"steps": 1, "degrees": 1}))


# -- newer than this code --------------------------------------------------------------------------

OLD_CODE = {"Turned": Turned}
ADDED = schema("Turned", 2, ("degrees", "long"), ("axis", "string", "z"))
MEANS_ELSE = schema(
    "Turned", 3, ("degrees", "long"), ("axis", "string", "z"), ("r", "int", 0), compatibility="BACKWARD"
)
BEHIND = schema("Turned", 4, ("degrees", "long"), ("axis", "string", "z"), ("q", "int", 0))


def learned(*schemas: Schema) -> Codec:
    """Code that knows version 1 only, and these schemas from a journal."""
    codec = Codec([TURNED], OLD_CODE)
    for newer in schemas:
        codec.add(newer.fingerprint, newer.json)
    return codec


def test_a_newer_version_is_read_as_the_one_that_is_known() -> None:
    """Forward compatible: the fields that this code does not know are left out."""
    assert (Turned(5),) == learned(ADDED).decode(AVRO.writer(ADDED)({"degrees": 5, "axis": "x"}))
    assert 2 == learned(ADDED).schema_of(AVRO.writer(ADDED)({"degrees": 5})).version


@pytest.mark.parametrize("order", [(ADDED, MEANS_ELSE, BEHIND), (BEHIND, MEANS_ELSE, ADDED)], ids=["old first", "new"])
def test_a_newer_version_that_means_something_else_is_not_read(order: tuple[Schema, ...]) -> None:
    """What says that older code must not read it is refused, and all behind it, though Avro could resolve them."""
    codec = learned(*order)
    for refused in (MEANS_ELSE, BEHIND):
        with pytest.raises(Undecodable, match=rf"version {refused.version}, .* only version 1 must not read"):
            codec.decode(AVRO.writer(refused)({"degrees": 5}))
    assert (Turned(5),) == codec.decode(AVRO.writer(ADDED)({"degrees": 5}))


def test_code_that_knows_it_reads_it() -> None:
    """The attribute is for older code only."""
    codec = Codec([TURNED, ADDED, MEANS_ELSE], OLD_CODE)
    codec.add(BEHIND.fingerprint, BEHIND.json)
    assert (Turned(5),) == codec.decode(AVRO.writer(MEANS_ELSE)({"degrees": 5}))
    assert (Turned(5),) == codec.decode(AVRO.writer(BEHIND)({"degrees": 5}))


# -- files -------------------------------------------------------------------------------------------


def test_upcasters_stand_beside_the_schemas(tmp_path: Any) -> None:
    """They are found in upcasters.py by aggregate type; a file that cannot be run is named."""
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot" / "Moved.v1.avsc").write_text(MOVED_1.json)
    assert () == Schemas.load(tmp_path, "robot").upcasters
    (tmp_path / "upcasters.py").write_text(
        "from schemas.upcasting import Upcaster, dropped\nUPCASTERS = {'robot': [Upcaster('Moved', 1, dropped)]}\n"
    )
    assert (Upcaster("Moved", 1, dropped),) == Schemas.load(tmp_path, "robot").upcasters
    (tmp_path / "upcasters.py").write_text("UPCASTERS = nothing")
    with pytest.raises(SchemaError, match=r"upcasters\.py: NameError"):
        Schemas.load(tmp_path, "robot")


@pytest.mark.parametrize("text", ["", "upcasters = {}", "UPCASTERS = [1]"])
def test_a_file_without_upcasters(tmp_path: Any, text: str) -> None:
    """One line says what it has to say."""
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot" / "Moved.v1.avsc").write_text(MOVED_1.json)
    (tmp_path / "upcasters.py").write_text(text)
    with pytest.raises(SchemaError, match=r"upcasters\.py: it has to say `UPCASTERS = \{\.\.\}`"):
        Schemas.load(tmp_path, "robot")


def test_upcasters_are_run_once(tmp_path: Any) -> None:
    """For all aggregate types together."""
    for type in ("robot", "arm"):
        (tmp_path / type).mkdir()
        (tmp_path / type / "Moved.v1.avsc").write_text(MOVED_1.json)
    ran = tmp_path / "ran"
    (tmp_path / "upcasters.py").write_text(f"UPCASTERS = {{}}\nopen({str(ran)!r}, 'a').write('x')\n")
    for type in ("robot", "arm", "robot"):
        Schemas.load(tmp_path, type)
    assert "x" == ran.read_text()


def test_compatibility_is_a_word_that_is_known() -> None:
    """A schema that declares anything else is refused."""
    with pytest.raises(SchemaError, match="use BACKWARD, or leave it out"):
        schema("Moved", 1, compatibility="FORWARD")
