"""What is written without the library has the library's bytes."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro_bytes import long, put_of
from schemas.formats import AVRO, HEADER_BYTES
from schemas.registry import Schema, Schemas
from tests.unit.schemas.test_fit import TYPES, anything_at_all, values

OURS = {name: type_ for name, type_ in TYPES.items() if name not in ("two", "cents", "day", "hour", "id", "prices")}
OF_LIBRARY = {name: type_ for name, type_ in TYPES.items() if name not in OURS}
OURS["names"] = {"type": "array", "items": ["string", "null"]}
OURS["code"] = ["null", {"type": "enum", "name": "Code", "symbols": ["a", "b"]}]
lists = st.lists(anything_at_all | st.text() | st.fixed_dictionaries({"x": values["small"]}))
said = {
    **values,
    "nodes": st.lists(st.fixed_dictionaries({"x": values["small"]}) | anything_at_all),
    "names": st.lists(st.none() | st.text()),
    "code": st.sampled_from(["a", "b", "c", None]),
}
of_a_field = st.sampled_from(sorted(OURS)).flatmap(
    lambda name: st.tuples(st.just(name), said[name] | anything_at_all | lists)
)


def schema(name: str) -> Schema:
    fields = [{"name": name, "type": {**OURS, **OF_LIBRARY}[name]}]
    return Schema.parse(json.dumps({"type": "record", "name": "One", "fields": fields}), 1)


SCHEMAS = {name: schema(name) for name in OURS}
PUTS = {name: put_of(schema.parsed) for name, schema in SCHEMAS.items()}


def by_library(schema: Schema, fields: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, fields)
    return out.getvalue()


@given(of_a_field)
def test_the_bytes_are_those_of_the_library(field: tuple[str, Any]) -> None:
    """Whatever a field holds: it is written as the library does it, or left to it."""
    name, value = field
    put = PUTS[name]
    assert put is not None
    try:
        written = put({name: value})
    except Exception:
        return
    assert by_library(SCHEMAS[name], {name: value}) == written


@given(of_a_field)
def test_what_is_left_to_the_library_is_written_or_refused_by_it(field: tuple[str, Any]) -> None:
    name, value = field
    write, schema = AVRO.writer(SCHEMAS[name]), SCHEMAS[name]
    try:
        expected = by_library(schema, {name: value})
    except Exception as error:
        with pytest.raises(type(error)):
            write({name: value})
    else:
        assert expected == write({name: value})[HEADER_BYTES:]


@given(st.integers(-(2**63), 2**63 - 1) | st.integers(-70_000, 70_000))
def test_whole_numbers(value: int) -> None:
    out = BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, value)
    assert out.getvalue() == long(value)


@pytest.mark.parametrize("name", sorted(OF_LIBRARY))
def test_other_kinds_are_for_the_library(name: str) -> None:
    assert put_of(schema(name).parsed) is None


@pytest.mark.parametrize("type_", ["order", "product", "user", "email"])
def test_the_events_of_the_shop_need_no_library(type_: str) -> None:
    """So it is where the time counts."""
    assert all(put_of(schema.parsed) is not None for schema in Schemas.load("shop", type_))
