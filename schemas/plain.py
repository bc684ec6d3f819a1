"""Plain classes: each field has exactly the type of its schema, so an object is read as it was written, unless writing
changes one of its fields."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec import inspect

from schemas.registry import Schema

_SAME: dict[str, type] = {
    "boolean": inspect.BoolType,
    "int": inspect.IntType,
    "long": inspect.IntType,
    "double": inspect.FloatType,
    "float": inspect.FloatType,
    "string": inspect.StrType,
    "bytes": inspect.BytesType,
    "decimal": inspect.DecimalType,
    "timestamp-millis": inspect.DateTimeType,
    "timestamp-micros": inspect.DateTimeType,
}


def is_plain(schema: Schema, class_: type, but: Collection[str] = ()) -> bool:
    """Whether each field, `but` for some, is a single value of exactly the type in the schema, without bounds of its
    own."""
    form = inspect.type_info(class_)
    if not isinstance(form, inspect.DataclassType) or hasattr(class_, "__post_init__"):
        return False
    types = {field["name"]: field["type"] for field in schema.parsed["fields"]}
    return [field.name for field in form.fields] == [*types] and all(
        field.name in but or _is_same(field.type, types[field.name]) for field in form.fields
    )


def _is_same(form: Any, schema: Any) -> bool:
    branches = schema if isinstance(schema, list) else [schema]
    parts = form.types if isinstance(form, inspect.UnionType) else (form,)
    others = [branch for branch in branches if branch != "null"]
    values = [part for part in parts if not isinstance(part, inspect.NoneType)]
    if len(others) != 1 or len(values) != 1 or (len(others) < len(branches)) != (len(values) < len(parts)):
        return False
    [branch], [value] = others, values
    if isinstance(branch, dict):
        if branch["type"] == "enum":
            return isinstance(value, inspect.LiteralType) and set(value.values) == set(branch["symbols"])
        branch = branch.get("logicalType") or branch["type"]
    return _SAME.get(branch) is type(value) and type(value)() == value
