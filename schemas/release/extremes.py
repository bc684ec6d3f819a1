"""The extreme values of a schema, which a class has to hold, since they may have been written once.

`example` of `samples.py` has a meaningful value in each field. Here it is changed in one place at a time, to values
that are easily forgotten: null, every symbol, every branch, the first and the last numbers and times, nothing and very
much.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from schemas.registry import Schema
from schemas.release.contract import named_types
from schemas.release.samples import example_value
from schemas.upcasting import Fields

MANY = 1_000
_LAST = datetime.max.replace(tzinfo=UTC)
_PLAIN: dict[str, tuple[Any, ...]] = {
    "null": (None,),
    "boolean": (False, True),
    "int": (0, -(2**31), 2**31 - 1),
    "long": (0, -(2**63), 2**63 - 1),
    "float": (0.0, *(sign * struct.unpack("<f", b"\xff\xff\x7f\x7f")[0] for sign in (-1, 1))),
    "double": (0.0, 5e-324, -1.7976931348623157e308, 1.7976931348623157e308),
    "string": ("", "\0", "é😀", "x" * MANY),
    "bytes": (b"", bytes(range(256))),
}
_LOGICAL: dict[str, tuple[Any, ...]] = {
    "timestamp-millis": (datetime.min.replace(tzinfo=UTC), _LAST.replace(microsecond=999000)),
    "timestamp-micros": (datetime.min.replace(tzinfo=UTC), _LAST),
    "date": (date.min, date.max),
    "time-millis": (time.min, time.max.replace(microsecond=999000)),
    "time-micros": (time.min, time.max),
    "uuid": (UUID(int=0), UUID(int=2**128 - 1)),
}


def extremes(schema: Schema) -> Iterator[tuple[str, Fields]]:
    """Fields of a record with one extreme value, each with the place of that value."""
    named = {type_["name"]: type_ for type_ in named_types(schema.parsed)}
    yield from _of(schema.parsed, schema.name, named)


def _of(schema: Any, name: str, named: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Extreme values of a type, each with its place."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _of(branch, name, named)
        return
    if isinstance(schema, str):  # a named type has been looked through where it is defined
        yield from (("", value) for value in _PLAIN.get(schema) or (example_value(schema, name, named),))
        return
    logical, kind = schema.get("logicalType", ""), schema["type"]
    if logical == "decimal":
        most = 10 ** schema["precision"] - 1
        yield from (("", Decimal(number).scaleb(-schema.get("scale", 0))) for number in (0, -most, most))
    elif logical in _LOGICAL:
        yield from (("", value) for value in _LOGICAL[logical])
    elif kind == "record":
        base = example_value(schema, name, named)
        for field in schema["fields"]:
            for place, value in _of(field["type"], field["name"], named):
                yield f".{field['name']}{place}", {**base, field["name"]: value}
    elif kind == "enum":
        yield from (("", symbol) for symbol in schema["symbols"])
    elif kind == "fixed":
        yield from (("", bytes([number] * schema["size"])) for number in (0, 255))
    elif kind == "array":
        item = example_value(schema["items"], name, named)
        yield from (("", value) for value in ([], [item] * MANY))
        yield from ((f"[]{place}", [value]) for place, value in _of(schema["items"], name, named))
    elif kind == "map":
        item = example_value(schema["values"], name, named)
        yield from (("", value) for value in ({}, {"": item}, {str(at): item for at in range(MANY)}))
        yield from ((f"[]{place}", {"key": value}) for place, value in _of(schema["values"], name, named))
    else:
        yield from _of(kind, name, named)
