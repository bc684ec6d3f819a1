"""What is written can be read: values are kept in the form that reading gives, or refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, make_dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, get_type_hints
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Codec
from schemas.fit_values import Unfit
from schemas.formats import AVRO, JSON
from schemas.plain import is_plain
from schemas.registry import Schema
from schemas.release.extremes import extremes


@dataclass(frozen=True)
class Node:
    x: int


@dataclass(frozen=True)
class Kept:
    """A field of each kind that a schema has."""

    small: int
    large: int
    flag: bool
    ratio: float
    narrow: float
    text: str | None
    kind: Literal["a", "b"]
    raw: bytes
    two: bytes
    money: Decimal
    cents: Decimal
    at: datetime
    exactly: datetime | None
    day: date
    hour: time
    id: UUID
    nodes: tuple[Node, ...]
    prices: dict[str, Decimal]


def decimal(precision: int, scale: int, **type_: Any) -> dict[str, Any]:
    return {"type": "bytes", **type_, "logicalType": "decimal", "precision": precision, "scale": scale}


TYPES: dict[str, Any] = {
    "small": "int",
    "large": "long",
    "flag": "boolean",
    "ratio": "double",
    "narrow": "float",
    "text": ["null", "string"],
    "kind": {"type": "enum", "name": "Kind", "symbols": ["a", "b"]},
    "raw": "bytes",
    "two": {"type": "fixed", "name": "Two", "size": 2},
    "money": decimal(18, 4),
    "cents": decimal(6, 2, type="fixed", name="Cents", size=3),
    "at": {"type": "long", "logicalType": "timestamp-millis"},
    "exactly": ["null", {"type": "long", "logicalType": "timestamp-micros"}],
    "day": {"type": "int", "logicalType": "date"},
    "hour": {"type": "int", "logicalType": "time-millis"},
    "id": {"type": "string", "logicalType": "uuid"},
    "nodes": {
        "type": "array",
        "items": {"type": "record", "name": "Node", "fields": [{"name": "x", "type": "int"}]},
    },
    "prices": {"type": "map", "values": decimal(18, 4)},
}


def schema(types: dict[str, Any] = TYPES, name: str = "Kept") -> Schema:
    fields = [{"name": field, "type": type_} for field, type_ in types.items()]
    return Schema.parse(json.dumps({"type": "record", "name": name, "fields": fields}), 1)


CODECS = [Codec([schema()], {"Kept": Kept}, format=format) for format in (AVRO, JSON)]
FIRST = datetime(1, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 29, 12, 0, 0, 123456, UTC)
KEPT = Kept(
    1, 2, True, 0.5, 0.25, "x", "a", b"\0", b"ab", Decimal("2.5000"), Decimal("1.00"), NOON.replace(microsecond=123000),
    NOON, date(2026, 11, 29), time(12, 30, 15, 123000), UUID(int=7), (Node(1),), {"é": Decimal("0.0000")},
)  # fmt: skip

zones = st.none() | st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))])
whole = st.integers(-(2**31), 2**31 - 1) | st.integers(-(2**66), 2**66)
decimals = st.decimals(places=4, min_value=-(10**14), max_value=10**14) | st.decimals()
times = st.datetimes(timezones=zones)
anything_at_all: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), whole, st.floats(), st.text(st.characters()), st.binary(max_size=3), decimals, times
)
values: dict[str, st.SearchStrategy[Any]] = {
    "small": whole,
    "large": whole,
    "flag": st.booleans(),
    "ratio": st.floats() | whole,
    "narrow": st.floats() | st.floats(width=32),
    "text": st.none() | st.text(st.characters()),
    "kind": st.sampled_from("abc"),
    "raw": st.binary(),
    "two": st.binary(max_size=3),
    "money": decimals,
    "cents": st.decimals(places=2, min_value=-10_000, max_value=10_000) | decimals,
    "at": times,
    "exactly": st.none() | times,
    "day": st.dates(),
    "hour": st.times(),
    "id": st.uuids(),
    "nodes": st.lists(st.builds(Node, whole)).map(tuple) | st.lists(st.builds(Node, whole)),
    "prices": st.dictionaries(st.text(), decimals),
}
changes = st.sampled_from(sorted(values)).flatmap(
    lambda name: st.fixed_dictionaries({name: values[name] | anything_at_all})
)


@given(changes)
def test_whatever_is_written_is_read_back(change: dict[str, Any]) -> None:
    """Any value of any field is refused, or comes back from both formats as `write` said, to the letter."""
    value = replace(KEPT, **change)
    outcomes = []
    for codec in CODECS:
        try:
            data, kept = codec.write(value)
        except Unfit:
            outcomes.append("refused")
            continue
        assert repr((kept,)) == repr(codec.decode(data))
        assert data == codec.encode(kept)
        outcomes.append(repr(kept))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"at": NOON}, {"at": NOON.replace(microsecond=123000)}),
        ({"at": NOON.astimezone(timezone(timedelta(hours=1)))}, {"at": NOON.replace(microsecond=123000)}),
        ({"at": FIRST.replace(microsecond=1999)}, {"at": FIRST.replace(microsecond=1000)}),
        ({"money": Decimal("2.5")}, {"money": Decimal("2.5000")}),
        ({"money": Decimal("25.00000")}, {"money": Decimal("25.0000")}),
        ({"money": Decimal("25." + "0" * 38)}, {"money": Decimal("25.0000")}),
        ({"money": Decimal("2.5E+1")}, {"money": Decimal("25.0000")}),
        ({"money": Decimal("-0E-30")}, {"money": Decimal("0.0000")}),
        ({"ratio": 1}, {"ratio": 1.0}),
        ({"narrow": 0.1}, {"narrow": 0.10000000149011612}),
        ({"nodes": [Node(1)]}, {"nodes": (Node(1),)}),
    ],
)  # fmt: skip
def test_kept_as_read(given: dict[str, Any], kept: dict[str, Any]) -> None:
    """What a schema cuts off or fills up is so at once, not only after the next restart."""
    for codec in CODECS:
        assert repr(replace(KEPT, **kept)) == repr(codec.write(replace(KEPT, **given))[1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"at": datetime(2026, 11, 29)}, r"Kept\.at: 2026-11-29T00:00:00 has no time zone: write Z for UTC"),
        ({"at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, r"Kept\.at: .* is beyond the calendar"),
        ({"small": 2**31}, r"Kept\.small: a int, 2147483648 is beyond an Avro int, .*: make it a long"),
        ({"small": True}, r"Kept\.small: is a bool, True, not a whole number"),
        ({"large": 2**63}, r"Kept\.large: .* is beyond an Avro long"),
        ({"flag": None}, r"Kept\.flag: is a NoneType, None, neither true nor false"),
        ({"ratio": float("nan")}, r"Kept\.ratio: is nan"),
        ({"narrow": 1e300}, r"Kept\.narrow: 1e\+300 is beyond an Avro float: make it a double"),
        ({"text": "\ud800"}, r"Kept: .*surrogates"),
        ({"kind": "c"}, r"Kept\.kind: is a str, 'c', which is none of a, b"),
        ({"two": b"abc"}, r"Kept\.two: is a bytes, b'abc', not 2 bytes"),
        ({"money": Decimal("25.00001")}, r"Kept\.money: .* has more than the 4 decimals"),
        ({"money": Decimal(10) ** 14}, r"Kept\.money: .* more digits than its schema keeps: 18 in all, 4 of them"),
        ({"money": Decimal("NaN")}, r"Kept\.money: is NaN, not a number"),
        ({"money": 2}, r"Kept\.money: is a int, 2, not a Decimal"),
        ({"nodes": (Node(1), Node(2**31))}, r"Kept\.nodes\[1\]\.x: .* beyond an Avro int"),
        ({"nodes": (Node("1"),)}, r"Kept\.nodes\[0\]\.x: is a str, '1', not a whole number"),  # type: ignore[arg-type]
        ({"prices": {"p": Decimal("1.23456")}}, r"Kept\.prices\['p'\]: .* more than the 4 decimals"),
    ],
)  # fmt: skip
def test_refused(change: dict[str, Any], says: str) -> None:
    """What no reader could have back is not written, in either format, and the field is named."""
    for codec in CODECS:
        with pytest.raises(Unfit, match=says):
            codec.write(replace(KEPT, **change))


@dataclass(frozen=True)
class Narrow:
    text: str


def test_a_class_narrower_than_its_schema_does_not_write_what_it_cannot_read() -> None:
    """A value that its own class could not hold is refused, although the schema could."""
    for format in (AVRO, JSON):
        codec = Codec([schema({"text": ["null", "string"]}, "Narrow")], {"Narrow": Narrow}, format=format)
        with pytest.raises(Unfit, match=r"Narrow: Expected `str`, got `null`"):
            codec.write(Narrow(None))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Either:
    what: Any


@given(anything_at_all)
def test_a_union_whose_branch_the_writer_chooses(value: object) -> None:
    """What comes back of a union of several types is known by reading it."""
    types = ["null", "int", "double", "string", decimal(18, 4), {"type": "long", "logicalType": "timestamp-millis"}]
    codec = Codec([schema({"what": types}, "Either")], {"Either": Either})
    try:
        data, kept = codec.write(Either(value))
    except Unfit:
        return
    assert repr((kept,)) == repr(codec.decode(data))


@dataclass(frozen=True)
class Tree:
    at: datetime
    parts: list[Tree]


def test_a_record_within_itself() -> None:
    """Its parts are kept like itself."""
    at = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    parts = {"name": "parts", "type": {"type": "array", "items": "Tree"}}
    text = json.dumps({"type": "record", "name": "Tree", "fields": [at, parts]})
    codec = Codec([Schema.parse(text, 1)], {"Tree": Tree})
    cut = NOON.replace(microsecond=123000)
    assert Tree(cut, [Tree(cut, [])]) == codec.write(Tree(NOON, [Tree(NOON, [])]))[1]
    with pytest.raises(Unfit, match=r"Tree\.parts\[0\]\.at: .* has no time zone"):
        codec.write(Tree(NOON, [Tree(datetime(2026, 1, 1), [])]))


def test_everything_that_a_schema_allows() -> None:
    """The corners of each kind of value are held by a class that says the same, written, and read back, in both
    formats; each place of the schema is among them."""
    tried = list(extremes(schema()))
    assert {place.partition("[")[0].strip(".") for place, _ in tried} == TYPES.keys()
    for _, fields in tried:
        value = msgspec.convert(fields, type=Kept)
        for codec in CODECS:
            data, kept = codec.write(value)
            assert (value,) == (kept,) == codec.decode(data)


@dataclass(frozen=True)
class Plain:
    """Single values only, each of the type that its schema says."""

    small: int
    large: int | None
    flag: bool
    ratio: float
    text: str | None
    kind: Literal["a", "b"]
    raw: bytes
    money: Decimal
    at: datetime


PLAIN = schema({**{name: TYPES[name] for name in Plain.__annotations__}, "large": ["null", "long"]}, "Plain")
PLAIN_CODECS = [Codec([PLAIN], {"Plain": Plain}, format=format) for format in (AVRO, JSON)]


@given(changes)
def test_what_is_plain_is_read_back_too(change: dict[str, Any]) -> None:
    """Of single values the object itself is kept where nothing changes: to the letter what is read."""
    assert is_plain(PLAIN, Plain)
    fields = {name: change.get(name, getattr(KEPT, name)) for name in Plain.__annotations__}
    for codec in PLAIN_CODECS:
        try:
            data, kept = codec.write(Plain(**fields))
        except Unfit:
            continue
        assert repr((kept,)) == repr(codec.decode(data))


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize("value", [UUID(int=1), date(2024, 1, 1), Colour.RED], ids=lambda value: type(value).__name__)
def test_what_is_written_as_text(value: Any) -> None:
    """In a field of text it is kept as the text that is read, whatever the class was given."""
    fields = {name: getattr(KEPT, name) for name in Plain.__annotations__}
    for codec in PLAIN_CODECS:
        data, kept = codec.write(Plain(**{**fields, "text": value}))
        assert repr((kept,)) == repr(codec.decode(data))


@pytest.mark.parametrize("field", TYPES)
def test_what_is_not_plain(field: str) -> None:
    """Lists, maps, records, and types that are written as others have to be made again."""
    assert not is_plain(schema(), Kept)
    alone = make_dataclass("Kept", [(field, get_type_hints(Kept)[field])])
    expected = field not in ("two", "day", "hour", "id", "nodes", "prices")
    assert expected == is_plain(schema({field: TYPES[field]}), alone)
    optional = make_dataclass("Kept", [(field, get_type_hints(Kept)[field] | None)])
    assert (field in ("text", "exactly")) == is_plain(schema({field: TYPES[field]}), optional)
