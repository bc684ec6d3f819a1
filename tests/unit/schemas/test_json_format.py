"""Events as JSON say the same as in Avro, and are held against the same schema."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregates.shop.order import Line, LineAdded, OrderPlaced
from schemas.codec import Codec, Undecodable, content_type_of
from schemas.formats import AVRO, JSON
from schemas.registry import Schema, SchemaError, Schemas
from tests.unit.schemas.test_codec import CLASSES, CODEC, anything

SCHEMAS = [schema for type_ in ("order", "product", "user") for schema in Schemas.load("shop", type_)]
AS_JSON = Codec(SCHEMAS, CLASSES, format=JSON)
ADDED = LineAdded("85123A", "T-LIGHT HÖLDER", 6, Decimal("2.55"))


@given(anything)
def test_both_formats_say_the_same(value: object) -> None:
    """Every command and event comes back from JSON exactly as from Avro, whichever codec reads it."""
    assert repr(CODEC.decode(CODEC.encode(value))) == repr(CODEC.decode(AS_JSON.encode(value)))
    assert (value,) == AS_JSON.decode(CODEC.encode(value))


def test_text() -> None:
    """The text names its schema first; money is a string, and a time has a zone."""
    lines = (Line("M", "é", 2, Decimal("1.5")),)
    placed = OrderPlaced("1", "sale", None, datetime(2011, 1, 2, 3, 4, 5, 6000, UTC), lines, Decimal(3))
    text = AS_JSON.encode(placed).decode()
    fingerprint = AS_JSON.schema_of(text.encode()).fingerprint
    assert text.startswith(f'{{"$schema":"urn:avro:shop.order.OrderPlaced:1:{fingerprint}",')
    assert {
        "user_id": "1",
        "kind": "sale",
        "country": None,
        "opened_at": "2011-01-02T03:04:05.006000Z",
        "lines": [{"sku": "M", "description": "é", "quantity": 2, "unit_price": "1.5000"}],
        "total": "3.0000",
    } == {name: value for name, value in json.loads(text).items() if name != "$schema"}


def test_content_types() -> None:
    """A consumer is told by the content type which of them a value is."""
    assert "application/json" == content_type_of(AS_JSON.encode(ADDED))
    assert "avro/binary" == content_type_of(CODEC.encode(ADDED))
    assert "application/octet-stream" == content_type_of(b"")


@pytest.mark.parametrize("amount", ["0.00001", "NaN"])
def test_what_does_not_fit_is_not_written(amount: str) -> None:
    """JSON could hold it, the schema does not."""
    with pytest.raises((ValueError, TypeError)):
        AS_JSON.encode(LineAdded("M", "", 1, Decimal(amount)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"quantity":6', '"quantity":6.5'),
        ('"quantity":6', '"quantity":null'),
        ('"quantity":6', '"quantity":9223372036854775808'),
        ('"quantity":6,', ""),
        ('"2.5500"', '"much"'),
        ("}", ""),
    ],
)
def test_what_does_not_fit_is_not_read(old: str, new: str) -> None:
    """Text that is no object of its schema is undecodable."""
    text = AS_JSON.encode(ADDED).decode()
    assert old in text
    with pytest.raises(Undecodable):
        AS_JSON.decode(text.replace(old, new, 1).encode())


@given(st.binary().map(lambda tail: b'{"$schema":"urn:avro:' + tail))
def test_arbitrary_text(data: bytes) -> None:
    """Whatever begins like an event in JSON is undecodable when it is none."""
    for read in (AS_JSON.decode, AS_JSON.decode_to_builtins, AS_JSON.schema_of):
        with pytest.raises(Undecodable):
            read(data)


@given(anything, st.data())
def test_damaged(value: object, draw: st.DataObject) -> None:
    """Text that was cut short is undecodable."""
    data = AS_JSON.encode(value)
    with pytest.raises(Undecodable):
        AS_JSON.decode(data[: draw.draw(st.integers(0, len(data) - 1))])


@given(anything, st.data())
def test_any_byte_changed(value: object, draw: st.DataObject) -> None:
    """A changed byte gives another object or is undecodable; nothing else is raised."""
    data = bytearray(AS_JSON.encode(value))
    data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with suppress(Undecodable):
        AS_JSON.decode(bytes(data))


@dataclass(frozen=True)
class Odd:
    id: int


def odd(*fields: dict[str, Any]) -> Schema:
    return Schema.parse(json.dumps({"type": "record", "name": "Odd", "fields": list(fields)}), 1)


def test_every_kind_of_value() -> None:
    """Maps, enums, fixed, dates, records and optional ones, and names that Python keeps for itself."""
    node = {"type": "record", "name": "Node", "fields": [{"name": "x", "type": "int"}]}
    schema = odd(
        {"name": "class", "type": {"type": "map", "values": "long"}},
        {"name": "from", "type": {"type": "enum", "name": "E", "symbols": ["a", "b"]}},
        {"name": "raw", "type": {"type": "fixed", "name": "F", "size": 2}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "node", "type": node},
        {"name": "other", "type": ["null", "Node"]},
        {"name": "flag", "type": ["null", "boolean", "string"]},
    )
    fields = {
        "class": {"x": 1},
        "from": "b",
        "raw": b"\x00\xff",
        "day": datetime(2010, 12, 1).date(),
        "node": {"x": 1},
        "other": {"x": 2},
        "flag": "yes",
    }
    assert fields == JSON.reader(schema, schema)(JSON.writer(schema)(fields))


def test_a_schema_that_json_cannot_say_is_refused_at_once() -> None:
    """Where JSON could not tell two branches of a union apart, the error comes before the first event."""
    price = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    twins, itself = ({"name": "id", "type": type_} for type_ in ([price, "string"], ["null", "Odd"]))
    for field, why in ((twins, "more than one"), (itself, "'Odd' is used within itself")):
        with pytest.raises(SchemaError, match=f"Odd has no form in JSON: .*{why}"):
            Codec([odd(field)], {"Odd": Odd}, format=JSON)
        Codec([odd(field)], {"Odd": Odd}, format=AVRO)
