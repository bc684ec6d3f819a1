"""The schema files say what the classes say, and are known by the fingerprints that everyone computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import avro.schema
import msgspec
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from aggregates.decider import Decider
from aggregates.shop.order import order
from aggregates.shop.product import product
from aggregates.shop.user import user
from schemas.registry import Schema, SchemaError, Schemas

DECIDERS: list[Decider[Any, Any, Any]] = [order, product, user]
CLASSES: list[tuple[str, Any]] = [
    (decider.type, class_) for decider in DECIDERS for class_ in (decider.commands | decider.events).values()
]
SCHEMAS = [schema for decider in DECIDERS for schema in Schemas.load("shop", decider.type)]
POINT = '{"type": "record", "name": "Point", "namespace": "a.b", "fields": [{"name": "x", "type": "long"}]}'


def records(type_: Any) -> Iterator[dict[str, Any]]:
    """A schema's records, its own and those nested in it."""
    if isinstance(type_, list):
        for part in type_:
            yield from records(part)
    elif isinstance(type_, dict):
        if type_["type"] == "record":
            yield type_
        for part in type_.get("fields", []):
            yield from records(part["type"])
        yield from records(type_.get("items"))


def dataclasses_of(type_: Any) -> Iterator[type]:
    """A class and the dataclasses that its fields hold."""
    if is_dataclass(type_) and isinstance(type_, type):
        yield type_
        for held in get_type_hints(type_).values():
            yield from dataclasses_of(held)
    for part in get_args(type_):
        yield from dataclasses_of(part)


@pytest.mark.parametrize(("type_", "class_"), CLASSES, ids=lambda value: getattr(value, "__name__", value))
def test_fields(type_: str, class_: type) -> None:
    """A class and its newest schema have the same fields in the same order, and so have the nested ones."""
    schema = Schemas.load("shop", type_).newest(class_.__name__)
    by_schema = [[field["name"] for field in record["fields"]] for record in records(msgspec.json.decode(schema.json))]
    by_class = [[field.name for field in fields(part)] for part in dataclasses_of(class_)]
    assert by_class == by_schema


def test_nothing_superfluous() -> None:
    """Every schema belongs to a command or an event of its namespace."""
    expected = {f"shop.{type_}.{class_.__name__}" for type_, class_ in CLASSES}
    assert expected == {schema.full_name for schema in SCHEMAS}


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_documented(schema: Schema) -> None:
    """Every record and every field says what it means."""
    for record in records(msgspec.json.decode(schema.json)):
        assert record["doc"]
        assert all(field["doc"] for field in record["fields"])


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_fingerprint(schema: Schema) -> None:
    """Avro's own library computes the same CRC-64-AVRO over the parsing canonical form."""
    canonical = to_parsing_canonical_form(msgspec.json.decode(schema.json))
    assert avro.schema.parse(canonical).fingerprint("CRC-64-AVRO").hex() == schema.fingerprint


def test_fingerprint_of_the_specification() -> None:
    """The algorithm is the specification's: the long of the canonical form `"int"`, here little-endian."""
    assert (0x7275D51A3F395C8F).to_bytes(8, "little").hex() == fingerprint('"int"', "CRC-64-AVRO")


def test_parse() -> None:
    """A schema keeps its name, namespace, version and compact text; documentation does not change its fingerprint."""
    schema = Schema.parse(POINT, 3)
    assert ("Point", "a.b", "a.b.Point", 3) == (schema.name, schema.namespace, schema.full_name, schema.version)
    assert POINT.replace(" ", "")[:-1] + ',"version":3}' == schema.json
    documented = Schema.parse(POINT.replace('"fields"', '"doc": "?", "fields"'))
    assert (schema.fingerprint, 16) == (documented.fingerprint, len(documented.fingerprint))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '"string"', "{}", '{"type": "record"}', '{"type": "array", "items": "int"}']
)
def test_not_a_record(text: str) -> None:
    """What is not the schema of a record is a clear error."""
    with pytest.raises(SchemaError, match="not"):
        Schema.parse(text)


def test_newest() -> None:
    """Of several versions the highest counts, and a missing one names the file to add."""
    newer = Schema.parse(POINT.replace('"x"', '"y"'), 10)
    schemas = Schemas([newer, Schema.parse(POINT, 9)])
    assert (newer, 2) == (schemas.newest("Point"), len(schemas))
    with pytest.raises(SchemaError, match=r"add Circle\.v1\.avsc"):
        schemas.newest("Circle")


def test_version_without_a_difference() -> None:
    """Two versions that have one fingerprint could not be told apart, so they are refused."""
    with pytest.raises(SchemaError, match="one fingerprint"):
        Schemas([Schema.parse(POINT, 1), Schema.parse(POINT, 2)])


@pytest.mark.parametrize(
    ("file_name", "text", "error"),
    [
        ("Point.avsc", POINT, "is named <Name>"),
        ("Point.v0.avsc", POINT, "is named <Name>"),
        ("Circle.v1.avsc", POINT, "record is named Point"),
        ("Point.v1.avsc", "{", "not an Avro schema"),
    ],
    ids=["no version", "version 0", "other name", "no JSON"],
)
def test_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_name: str, text: str, error: str) -> None:
    """A file that is not as it must be is named in the error."""
    (tmp_path / "__init__.py").touch()
    (tmp_path / file_name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path.parent))
    with pytest.raises(SchemaError, match=error) as raised:
        Schemas.load(package=tmp_path.name)
    assert file_name in str(raised.value)


def test_no_folder() -> None:
    """A folder that does not exist is an error, not an empty registry."""
    with pytest.raises(SchemaError, match="no folder schemas/shop/nothing"):
        Schemas.load("shop", "nothing")
