"""The schema files say what the classes say, and are known by the fingerprints that everyone computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import avro.schema
import msgspec
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from aggregates.decider import Decider
from aggregates.shop.checkout import checkout
from aggregates.shop.email import email
from aggregates.shop.order import order
from aggregates.shop.product import product
from aggregates.shop.user import user
from aggregates.timer import timer
from schemas.registry import Schema, SchemaError, Schemas

DECIDERS: list[tuple[str, Decider[Any, Any, Any]]] = [
    ("shop", order),
    ("shop", product),
    ("shop", user),
    ("shop", checkout.decider),
    ("shop", email.decider),
    ("engine", timer.decider),
]
SCHEMAS = [schema for folder, decider in DECIDERS for schema in Schemas.load(folder, decider.type)]
POINT = '{"type": "record", "name": "Point", "namespace": "a.b", "fields": [{"name": "x", "type": "long"}]}'


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
def test_bad_file(tmp_path: Path, file_name: str, text: str, error: str) -> None:
    """A file that is not as it must be is named in the error, with its folder."""
    (tmp_path / "point").mkdir()
    (tmp_path / "point" / file_name).write_text(text)
    with pytest.raises(SchemaError, match=error) as raised:
        Schemas.load(tmp_path, "point")
    assert f"{tmp_path}/point/{file_name}" in str(raised.value)


def test_no_folder() -> None:
    """A folder that does not exist is an error, not an empty registry."""
    with pytest.raises(SchemaError, match="no folder schemas/shop/nothing"):
        Schemas.load("shop", "nothing")


def test_a_folder_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schemas of a project of one's own are found by path, and named from where one works."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SchemaError, match=r"no folder mine/point: it is for the schemas of point"):
        Schemas.load(tmp_path / "mine", "point")
    (tmp_path / "mine" / "point").mkdir(parents=True)
    (tmp_path / "mine" / "point" / "Point.v1.avsc").write_text(POINT)
    schemas = Schemas.load(tmp_path / "mine", "point")
    assert ["Point"] == [schema.name for schema in schemas]
    with pytest.raises(SchemaError, match=r"add mine/point/Circle\.v1\.avsc, mine/point/Line\.v1\.avsc"):
        schemas.require(["Circle", "Point", "Line"])
