"""Records as JSON, checked against their Avro schema: decimals are strings, times ISO 8601, bytes Base64.

What is written has been through Avro, so that a record has the same fields in both formats: the scale of its
decimals, the milliseconds of its times, and no value that does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from schemas.registry import Schema, SchemaError
from schemas.upcasting import Fields

_PREFIX = b'{"$schema":"urn:avro:'
_LONGEST_NAME = 1_000
_NATIVE = (Decimal, datetime, date, time, UUID, bytes)
_encode = msgspec.json.Encoder(decimal_format="string").encode

_LOGICAL = {
    "decimal": Decimal,
    "timestamp-millis": datetime,
    "timestamp-micros": datetime,
    "date": date,
    "time-millis": time,
    "time-micros": time,
    "uuid": UUID,
}
_PLAIN: dict[str, Any] = {
    "null": None,
    "boolean": bool,
    "int": Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)],
    "long": Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    "float": float,
    "double": float,
    "string": str,
    "bytes": bytes,
    "fixed": bytes,
}


def fields_writer(
    schema: Schema, to_avro: Callable[[Fields], bytes], from_avro: Callable[[bytes], Fields]
) -> Callable[[Fields], bytes]:
    """Writes the fields of a record. Raises what `to_avro` raises for fields that do not fit."""
    fields_reader(schema)  # a schema that JSON cannot say is refused when the worker starts, not at the first event
    urn = f"urn:avro:{schema.full_name}:{schema.version}:{schema.fingerprint}"

    def write(fields: Fields) -> bytes:
        return _encode({"$schema": urn, **from_avro(to_avro(fields))})

    return write


def schema_fingerprint(data: bytes) -> bytes:
    """The fingerprint of the schema that `data` names. Raises `ValueError`."""
    end = data.find(b'"', len(_PREFIX), len(_PREFIX) + _LONGEST_NAME)
    if not data.startswith(_PREFIX) or end < 0:
        raise ValueError("JSON that does not begin with the $schema of its record")
    fingerprint = bytes.fromhex(data[end - 16 : end].decode("ascii"))
    if len(fingerprint) != 8:
        raise ValueError("its $schema does not end with a fingerprint")
    return fingerprint


@lru_cache(maxsize=4096)
def fields_reader(schema: Schema) -> Callable[[bytes], Fields]:
    """Reads the fields of a record. Raises `SchemaError` for a schema whose values JSON cannot tell apart, and for one
    that is used within itself."""
    try:
        decode = msgspec.json.Decoder(_type(schema.parsed, {})).decode
    except (TypeError, KeyError) as error:
        why = f"{error} is used within itself" if isinstance(error, KeyError) else error
        raise SchemaError(f"{schema.full_name} has no form in JSON: {why}") from error

    def read(data: bytes) -> Fields:
        fields: Fields = msgspec.to_builtins(decode(data), builtin_types=_NATIVE)
        return fields

    return read


def _type(schema: Any, named: dict[str, Any]) -> Any:
    """The type, for msgspec, of the values of an Avro schema."""
    if isinstance(schema, list):
        return reduce(or_, (_type(branch, named) for branch in schema))
    if isinstance(schema, str):
        return named[schema] if schema in named else _PLAIN[schema]
    logical = _LOGICAL.get(schema.get("logicalType", ""))
    if logical is not None:
        return logical
    match schema["type"]:
        case "record":
            return _record(schema, named)
        case "enum":
            named[schema["name"]] = type_ = Literal[tuple(schema["symbols"])]
            return type_
        case "array":
            return list[_type(schema["items"], named)]  # type: ignore[misc]
        case "map":
            return dict[str, _type(schema["values"], named)]  # type: ignore[misc]
        case other:
            return _type(other, named)


def _record(schema: Any, named: dict[str, Any]) -> Any:
    # Avro allows names that Python keeps for itself.
    names = {f"_{index}": field["name"] for index, field in enumerate(schema["fields"])}
    fields = [(own, _type(field["type"], named)) for own, field in zip(names, schema["fields"], strict=True)]
    named[schema["name"]] = type_ = msgspec.defstruct(schema["name"].rpartition(".")[2], fields, rename=names)
    return type_
