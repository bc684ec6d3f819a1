"""Objects become Avro single-object bytes and come back equal; other bytes are refused, never anything else."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aggregates.shop.order import Line, LineAdded, OrderOpened, OrderPlaced, order
from aggregates.shop.product import product
from aggregates.shop.user import user
from schemas.codec import Codec, Undecodable, UnknownSchema
from schemas.registry import Schema, SchemaError, Schemas
from schemas.sealing import marks_of

CLASSES: dict[str, type] = {}
for decider in (order, product, user):
    CLASSES |= decider.commands | decider.events
CODEC = Codec([schema for type_ in ("order", "product", "user") for schema in Schemas.load("shop", type_)], CLASSES)
ADDED = LineAdded("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, Decimal("2.55"))


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Whatever fits `type_` and its schema."""
    if isinstance(type_, type) and is_dataclass(type_):
        hints = get_type_hints(type_)
        return st.builds(type_, **{field.name: values(hints[field.name]) for field in fields(type_)})
    if type_ is Decimal:
        return st.decimals(-(10**14) + 1, 10**14 - 1, places=4) | st.integers(-9, 9).map(Decimal)
    if type_ is datetime:
        moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
        return moments.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
    if get_origin(type_) is Literal:
        return st.sampled_from(get_args(type_))
    if get_origin(type_) is tuple:
        return st.lists(values(get_args(type_)[0]), max_size=4).map(tuple)
    if get_args(type_):
        return st.one_of(*(values(part) for part in get_args(type_)))
    return {str: st.text(), int: st.integers(-(2**63), 2**63 - 1), type(None): st.none()}[type_]


SEALED = {schema.name for schema in Schemas.load("shop", "user") if marks_of(schema) and schema.name in user.events}
"""They become bytes with the keys of persons alone: see `tests/unit/streams/keys/test_sealed_events.py`."""
anything = st.sampled_from([class_ for name, class_ in CLASSES.items() if name not in SEALED]).flatmap(values)


@given(anything)
def test_round_trip(value: object) -> None:
    """Every command and event comes back equal from its bytes."""
    data = CODEC.encode(value)
    assert value == CODEC.decode_one(data)
    assert type(value).__name__ == CODEC.schema_of(data).name


def test_header() -> None:
    """The bytes begin with the marker C3 01 and the fingerprint as the registry writes it."""
    fingerprint = Schemas.load("shop", "order").newest("LineAdded").fingerprint
    assert "c301" + fingerprint == CODEC.encode(ADDED)[:10].hex()


@pytest.mark.parametrize("amount", ["2.55", "2.5500", "2", "1E+3", "0", "-0.0001", "99999999999999.9999"])
def test_decimals_are_exact(amount: str) -> None:
    """A decimal comes back with the same value, written with 4 decimals."""
    decoded = CODEC.decode_one(CODEC.encode(LineAdded("M", "", 1, Decimal(amount))))
    assert f"{Decimal(amount):.4f}" == str(decoded.unit_price)


@pytest.mark.parametrize("amount", ["0.00001", "0.0001234567890123456789", "NaN", "Infinity"])
def test_decimals_are_not_rounded(amount: str) -> None:
    """A decimal that does not fit its schema is refused instead of being rounded."""
    with pytest.raises((ValueError, TypeError)):
        CODEC.encode(LineAdded("M", "", 1, Decimal(amount)))


def test_builtins() -> None:
    """Readers without a class get the schema and values ready for JSON: money as text, time with a Z."""
    lines = (Line("M", "é", 2, Decimal("1.5")),)
    placed = OrderPlaced("1", "credit", None, datetime(2011, 1, 2, 3, 4, 5, 6000, UTC), lines, Decimal(3))
    [(schema, builtins)] = CODEC.decode_to_builtins(CODEC.encode(placed))
    assert ("shop.order.OrderPlaced", 1) == (schema.full_name, schema.version)
    assert {
        "user_id": "1",
        "kind": "credit",
        "country": None,
        "opened_at": "2011-01-02T03:04:05.006000Z",
        "lines": [{"sku": "M", "description": "é", "quantity": 2, "unit_price": "1.5000"}],
        "total": "3.0000",
    } == builtins


@given(st.binary())
@example(b"")
@example(b"\xc3\x01")
def test_arbitrary_bytes(data: bytes) -> None:
    """Bytes from anywhere are refused as undecodable, by every way to read them."""
    for read in (CODEC.decode_one, CODEC.decode_to_builtins, CODEC.schema_of):
        with pytest.raises(Undecodable):
            read(data)


@given(st.sampled_from(sorted(CODEC.schemas)), st.binary(max_size=80))
def test_arbitrary_body(fingerprint: str, body: bytes) -> None:
    """Behind a known header too, bytes are an object of its class or undecodable."""
    data = b"\xc3\x01" + bytes.fromhex(fingerprint) + body
    for read in (CODEC.decode_one, CODEC.decode_to_builtins):
        with suppress(Undecodable):
            read(data)


@given(anything, st.data())
def test_damaged(value: object, draw: st.DataObject) -> None:
    """Bytes cut short or with more behind them are undecodable."""
    data = CODEC.encode(value)
    for damaged in (data[: draw.draw(st.integers(0, len(data) - 1))], data + b"\x00"):
        with pytest.raises(Undecodable):
            CODEC.decode_one(damaged)


def test_unknown_schema() -> None:
    """An unknown fingerprint is named by the error, so that its schema can be looked for."""
    with pytest.raises(UnknownSchema) as raised:
        CODEC.decode_one(b"\xc3\x01" + bytes(range(8)) + b"body")
    assert "0001020304050607" == raised.value.fingerprint


def test_class_without_schema() -> None:
    """A class needs a schema: the error names the file to add."""
    with pytest.raises(SchemaError, match=r"add LineAdded\.v1\.avsc"):
        Codec(Schemas.load("shop", "user"), {"LineAdded": LineAdded})
    with pytest.raises(SchemaError, match="no schema of LineAdded"):
        Codec(Schemas.load("shop", "user"), {}).encode(ADDED)


def test_schema_without_class() -> None:
    """Without its class a record is still read as builtins."""
    codec = Codec(Schemas.load("shop", "order"), {})
    data = CODEC.encode(ADDED)
    assert "2.5500" == codec.decode_as_written(data)[1]["unit_price"]
    with pytest.raises(Undecodable, match="no class"):
        codec.decode_one(data)


@dataclass(frozen=True)
class Point:
    x: int
    colour: str


OLD = Schema.parse(
    '{"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]}', 1
)
NEW = Schema.parse(
    '{"type": "record", "name": "Point", "fields": [{"name": "x", "type": "long"},'
    ' {"name": "colour", "type": "string", "default": "red"}]}',
    2,
)
OLD_BYTES = b"\xc3\x01" + bytes.fromhex(OLD.fingerprint) + b"\x02\x04"


def test_resolves_to_the_newest() -> None:
    """Old bytes are read as the newest version, which is the only one that is written."""
    codec = Codec([NEW, OLD], {"Point": Point})
    assert Point(1, "red") == codec.decode_one(OLD_BYTES)
    assert [(NEW, {"x": 1, "colour": "red"})] == codec.decode_to_builtins(OLD_BYTES)
    assert (OLD, {"x": 1, "y": 2}) == codec.decode_as_written(OLD_BYTES)
    assert (OLD, NEW) == (codec.schema_of(OLD_BYTES), codec.schema_of(codec.encode(Point(1, "blue"))))


def test_learns() -> None:
    """A schema found in a journal makes its bytes readable, as the newest version known by file."""
    codec = Codec([NEW], {"Point": Point})
    with pytest.raises(UnknownSchema):
        codec.decode_one(OLD_BYTES)
    codec.add(OLD.fingerprint, OLD.json)
    assert Point(1, "red") == codec.decode_one(OLD_BYTES)
    assert {OLD.fingerprint: OLD.json, NEW.fingerprint: NEW.json} == codec.schemas
    bare = Codec([], {})
    bare.add(OLD.fingerprint, OLD.json)
    assert {"x": 1, "y": 2} == bare.decode_to_builtins(OLD_BYTES)[0][1]


def test_learns_no_lies() -> None:
    """A schema under another's fingerprint, or none at all, is refused."""
    with pytest.raises(SchemaError, match="has the fingerprint"):
        CODEC.add("0" * 16, OLD.json)
    with pytest.raises(SchemaError, match="not an Avro schema"):
        CODEC.add("0" * 16, "{")


def test_rates(capsys: pytest.CaptureFixture[str]) -> None:
    """Encoding and decoding are fast enough not to matter; the rates are printed."""
    data, number = CODEC.encode(ADDED), 20_000
    rates = []
    work: list[tuple[Callable[[Any], object], object]] = [(CODEC.encode, ADDED), (CODEC.decode_one, data)]
    for call, argument in work:
        start = time.perf_counter()
        for _ in range(number):
            call(argument)
        rates.append(number / (time.perf_counter() - start))
    with capsys.disabled():
        print(f"\nLineAdded: {rates[0]:,.0f} encoded/s, {rates[1]:,.0f} decoded/s")
    assert min(rates) > 10_000


def test_opened_at_keeps_its_instant() -> None:
    """A time of another zone comes back as the same instant in UTC."""
    opened = OrderOpened("1", "sale", None, datetime.fromisoformat("2010-12-01T14:00:00+02:00"))
    assert "2010-12-01T12:00:00+00:00" == CODEC.decode_one(CODEC.encode(opened)).opened_at.isoformat()
