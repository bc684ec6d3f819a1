"""The default of a field of a class as Avro writes it into the schema."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NoDefault(ValueError):
    """A value that no schema can have as its default."""


def default_of(kind: Any, value: Any, named: dict[str, Any]) -> Any:
    """A value as the default of a type. Of a union it is that of its first branch. Types by name are in `named`.

    Raises `NoDefault`.
    """
    kind = named.get(kind, kind) if isinstance(kind, str) else kind
    if isinstance(kind, list):
        return default_of(kind[0], value, named)
    if isinstance(value, Enum):
        value = value.value
    if isinstance(kind, str):
        return _plain(kind, value)
    match kind.get("logicalType") or kind["type"], value:
        case "decimal", Decimal():
            return _decimal(kind, value)
        case "timestamp-millis", datetime() if value.tzinfo is not None:
            return round((value - EPOCH).total_seconds() * 1000)
        case "date", date() if not isinstance(value, datetime):
            return (value - EPOCH.date()).days
        case "time-millis", time():
            return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000
        case "uuid", UUID():
            return str(value)
        case "enum", str() if value in kind["symbols"]:
            return value
        case "array", list() | tuple() | set() | frozenset():
            return [default_of(kind["items"], item, named) for item in value]
        case "map", dict():
            return {key: default_of(kind["values"], item, named) for key, item in value.items()}
        case "record", _ if is_dataclass(value):
            types = {field["name"]: field["type"] for field in kind["fields"]}
            return {it.name: default_of(types[it.name], getattr(value, it.name), named) for it in fields(value)}
    raise NoDefault(f"{value!r} is no {kind.get('logicalType') or kind['type']}")


def branch_of(branches: list[Any], value: Any, named: dict[str, Any]) -> int:
    """The branch of a union that a value is a default of. Raises `NoDefault`."""
    for index, branch in enumerate(branches):
        try:
            default_of(branch, value, named)
        except NoDefault:
            continue
        return index
    raise NoDefault(f"{value!r} is of no branch")


def _plain(kind: str, value: Any) -> Any:
    match kind, value:
        case ("null", None) | ("boolean", bool()) | ("string", str()):
            return value
        case "long", int() if not isinstance(value, bool):
            return value
        case "double", int() | float() if not isinstance(value, bool):
            return float(value)
        case "bytes", bytes():
            return value.decode("latin-1")
    raise NoDefault(f"{value!r} is no {kind}")


def _decimal(kind: dict[str, Any], value: Decimal) -> str:
    """The bytes of its digits as a text of code points, as Avro has it."""
    if not value.is_finite():
        raise NoDefault(f"{value} is not a number")
    digits = value.scaleb(kind["scale"])
    if digits != digits.to_integral_value() or abs(digits) >= 10 ** kind["precision"]:
        raise NoDefault(f"{value} has more digits than {kind['precision']}, {kind['scale']} of them decimals")
    whole = int(digits)
    return whole.to_bytes((whole.bit_length() + 8) // 8, "big", signed=True).decode("latin-1")
