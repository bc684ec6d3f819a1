"""Samples: the bytes that each released version of each event has written, kept for ever.

`<folder>/<schema root>/<type>/<Event>.v<N>.json` holds the bytes in both formats, as the code of that time made them,
the fields as they were written, and the events that they read as today. The bytes never change; `reads_as` changes with
newer versions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from aggregates.personal import Known
from schemas.codec import Codec
from schemas.fit import fitted
from schemas.formats import AVRO, JSON
from schemas.registry import Schema
from schemas.sealing import SEALED_TYPES, fields_of, marks_of
from schemas.upcasting import Fields
from schemas.writer import AVRO_NATIVE

_NOON = datetime(2010, 12, 1, 12, 30, 15, 123000, UTC)


class SamplePart(msgspec.Struct):
    """An event that a sample reads as: the name of its newest version, and its fields ready for JSON."""

    type: str
    data: dict[str, Any]


class Sample(msgspec.Struct):
    """One released version of one event. `avro` is hexadecimal."""

    schema: str
    fingerprint: str
    written: dict[str, Any]
    avro: str
    json: str
    reads_as: list[SamplePart]

    @property
    def encoded(self) -> dict[str, bytes]:
        """The bytes by format."""
        return {AVRO.name: bytes.fromhex(self.avro), JSON.name: self.json.encode()}


def sample_path(folder: Path, schema_root: str | Path, type: str, schema: Schema) -> Path:
    """Where the sample of a version is kept. A schema root that is given by its path is the only one of its project."""
    return (
        (folder if isinstance(schema_root, Path) else folder / schema_root)
        / type
        / f"{schema.name}.v{schema.version}.json"
    )


def read_sample(path: Path) -> Sample:
    """A sample. Raises `OSError`, `msgspec.DecodeError`."""
    return msgspec.json.decode(path.read_bytes(), type=Sample)


def write_sample(path: Path, sample: Sample) -> None:
    """Write a sample, in a form that shows well in a difference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(sample), indent=2) + b"\n")


def make_sample(schema: Schema, class_: type, codec: Codec) -> Sample:
    """The sample of a newest version, by the code as it is. `class_` is its class, `codec` reads it."""
    fields = fitted(schema).fit(fields_of_object(schema, object_of(schema, example(schema), class_)))
    avro, json = AVRO.writer(schema)(fields), JSON.writer(schema)(fields)
    return Sample(
        f"{schema.full_name}:{schema.version}",
        schema.fingerprint,
        codec.decode_as_written(avro)[1],
        avro.hex(),
        json.decode(),
        reads_as(codec, avro),
    )


def reads_as(codec: Codec, data: bytes) -> list[SamplePart]:
    """The events that these bytes stand for today. Raises `Undecodable`."""
    return [SamplePart(newest.name, fields) for newest, fields in codec.decode_to_builtins(data)]


def object_of(schema: Schema, fields: Fields, class_: type) -> Any:
    """An object of these fields, the personal ones taken as text in the clear. Raises what `convert` raises."""
    fields = dict(fields)
    for name in _in_bytes(schema):
        if fields[name] is not None:
            fields[name] = Known(fields[name].decode(errors="surrogateescape"))
    return msgspec.convert(fields, type=class_)


def fields_of_object(schema: Schema, value: object) -> Fields:
    """The fields of an object, the personal ones as text in the clear, as `object_of` takes them."""
    personal = {name: getattr(value, name) for name in _in_bytes(schema)}
    fields: Fields = msgspec.to_builtins(
        value, builtin_types=AVRO_NATIVE, enc_hook=lambda known: known.value.encode(errors="surrogateescape")
    )
    return {**fields, **{name: its.value.encode(errors="surrogateescape") for name, its in personal.items() if its}}


def _in_bytes(schema: Schema) -> list[str]:
    fields = {field["name"]: field["type"] for field in fields_of(schema)}
    return [name for name in marks_of(schema) if fields[name] in SEALED_TYPES]


def example(schema: Schema) -> Fields:
    """Fields of a record with a meaningful value in each: no default, no value twice, and the same each time."""
    numbers = count(1)
    fields: Fields = _value(schema.parsed, schema.name, {}, lambda: next(numbers))
    return fields


def example_value(schema: Any, name: str, named: dict[str, Any]) -> Any:
    """A meaningful value of a type within a schema whose other types are `named`."""
    numbers = count(1)
    return _value(schema, name, dict(named), lambda: next(numbers))


def _value(schema: Any, name: str, named: dict[str, Any], number: Callable[[], int]) -> Any:
    if isinstance(schema, list):
        return _value(next(branch for branch in schema if branch != "null"), name, named, number)
    if isinstance(schema, str):
        return _plain(schema, name, number()) if schema not in named else _value(named[schema], name, named, number)
    if (logical := _logical(schema, number)) is not None:
        return logical
    kind = schema["type"]
    if "name" in schema:
        named[schema["name"]] = schema
    match kind:
        case "record":
            return {field["name"]: _value(field["type"], field["name"], named, number) for field in schema["fields"]}
        case "enum":
            return schema["symbols"][0]
        case "array":
            return [_value(schema["items"], name, named, number) for _ in range(2)]
        case "map":
            return {f"{name} {key}": _value(schema["values"], name, named, number) for key in "ab"}
        case "fixed":
            return bytes(number() % 256 for _ in range(schema["size"]))
        case _:
            return _value(kind, name, named, number)


def _logical(schema: Any, number: Callable[[], int]) -> Any:
    match schema.get("logicalType"):
        case "decimal":
            return Decimal(number() * 10_000 + 2_345).scaleb(-schema.get("scale", 0))
        case "timestamp-millis" | "timestamp-micros":
            return _NOON + timedelta(days=number())
        case "date":
            return (_NOON + timedelta(days=number())).date()
        case "time-millis" | "time-micros":
            return (_NOON + timedelta(minutes=number())).time()
        case "uuid":
            return UUID(int=number())
    return None


def _plain(kind: str, name: str, number: int) -> Any:
    match kind:
        case "boolean":
            return True
        case "int" | "long":
            return number
        case "float" | "double":
            return number + 0.5
        case "bytes":
            return bytes([number % 256])
    return f"{name.replace('_', ' ')} {number}"
