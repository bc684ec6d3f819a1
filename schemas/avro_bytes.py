"""Values to the bytes of Avro, by functions that are put together once for a schema.

The library looks at the schema anew for each value, and takes three times as long. It still writes the values and
schemas that these functions do not take. Tests compare their bytes with those of the library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

Put = Callable[[Any], bytes]
"""The bytes of a value. Raises anything for a value that the library has to write, or to refuse."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_double, _float = struct.Struct("<d").pack, struct.Struct("<f").pack


def _encoded_long(value: int) -> bytes:
    """An Avro long: zigzag, then seven bits a byte, the lowest first."""
    rest, out = (value << 1) ^ (value >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_SHORT = tuple(map(_encoded_long, range(1024)))


def long(value: int) -> bytes:
    """A whole number of at most 64 bits."""
    return _SHORT[value] if 0 <= value < len(_SHORT) else _encoded_long(value)


def put_of(schema: Any) -> Put | None:
    """The function that writes values of a parsed schema; None for a schema that the library has to write."""
    if isinstance(schema, list):
        return _optional(schema)
    if isinstance(schema, str):
        return _PLAIN.get(schema)
    logical = schema.get("logicalType")
    if logical is not None:
        return _decimal(schema) if (logical, schema["type"]) == ("decimal", "bytes") else _LOGICAL.get(logical)
    match schema["type"]:
        case "record":
            return _record([(field["name"], put_of(field["type"])) for field in schema["fields"]])
        case "array":
            return _array(put_of(schema["items"]))
        case "enum":
            return {symbol: long(index) for index, symbol in enumerate(schema["symbols"])}.__getitem__
        case other:
            return _PLAIN.get(other) if isinstance(other, str) else None


def _of(type_: type, put: Put) -> Put:
    def strict(value: Any) -> bytes:
        if type(value) is not type_:
            raise TypeError
        return put(value)

    return strict


def _whole(limit: int) -> Put:
    def whole(value: Any) -> bytes:
        if type(value) is not int or not -limit <= value < limit:
            raise TypeError
        return _SHORT[value] if 0 <= value < len(_SHORT) else _encoded_long(value)

    return whole


def _text(value: Any) -> bytes:
    raw: bytes = value.encode()
    size = len(raw)
    return (_SHORT[size] if size < len(_SHORT) else _encoded_long(size)) + raw


def _moment(resolution: timedelta) -> Put:
    return lambda value: long((value - _EPOCH) // resolution)


def _decimal(schema: Any) -> Put:
    precision, scale = schema["precision"], schema.get("scale", 0)
    one, context, whole = Decimal(1).scaleb(-scale), Context(prec=max(precision, 1)), precision - scale

    def put(value: Any) -> bytes:
        if not value.same_quantum(one) or value.adjusted() >= whole:
            raise ValueError
        unscaled = int(value.scaleb(scale, context))
        size = (unscaled.bit_length() + 8) // 8
        return long(size) + unscaled.to_bytes(size, "big", signed=True)

    return put


def _optional(branches: list[Any]) -> Put | None:
    """Null or one other."""
    if len(branches) != 2 or "null" not in branches:
        return None
    at = branches.index("null")
    put, none, other = put_of(branches[1 - at]), long(at), long(1 - at)
    return None if put is None else lambda value: none if value is None else other + put(value)


def _array(put: Put | None) -> Put | None:
    if put is None:
        return None
    end = long(0)

    def array(values: Any) -> bytes:
        if type(values) not in (list, tuple):
            raise TypeError
        return b"".join([long(len(values)), *map(put, values), end]) if values else end

    return array


def _record(parts: list[tuple[str, Put | None]]) -> Put | None:
    puts = [(name, put) for name, put in parts if put is not None]
    if len(puts) < len(parts):
        return None
    return lambda fields: b"".join([put(fields[name]) for name, put in puts])


_PLAIN: dict[str, Put] = {
    "boolean": _of(bool, lambda value: b"\1" if value else b"\0"),
    "int": _whole(2**31),
    "long": _whole(2**63),
    "float": _of(float, _float),
    "double": _of(float, _double),
    "string": _text,
    "bytes": _of(bytes, lambda value: long(len(value)) + value),
}
_LOGICAL: dict[str, Put] = {
    "timestamp-millis": _moment(timedelta(milliseconds=1)),
    "timestamp-micros": _moment(timedelta(microseconds=1)),
}
