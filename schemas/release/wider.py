"""Values that a class can hold and its schema cannot write: an event with one would be refused when it happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import inspect

from schemas.registry import Schema
from schemas.release.contract import named_types

_INT = 2**31


def wider(schema: Schema, class_: type) -> Iterator[tuple[str, str]]:
    """Each kind of such values, and the repair."""
    named = {type_["name"]: type_ for type_ in named_types(schema.parsed)}
    yield from _of(inspect.type_info(class_), schema.parsed, "", named)


def _of(form: Any, schema: Any, path: str, named: dict[str, Any]) -> Iterator[tuple[str, str]]:
    branches = [named.get(item, item) if isinstance(item, str) else item for item in _list(schema)]
    kinds = {item if isinstance(item, str) else item["type"]: item for item in branches}
    for part in form.types if isinstance(form, inspect.UnionType) else (form,):
        match part:
            case inspect.NoneType() if "null" not in kinds:
                yield f"{path} may be None", 'say ["null", ..] in a new version, or take None out of the class'
            case inspect.LiteralType() | inspect.EnumType() if "enum" in kinds and "string" not in kinds:
                values = part.values if isinstance(part, inspect.LiteralType) else [item.value for item in part.cls]
                if more := [str(item) for item in values if item is not None and item not in kinds["enum"]["symbols"]]:
                    yield f"{path} may be {', '.join(more)}", "add it to the symbols in a new version"
            case inspect.StrType() if "enum" in kinds and "string" not in kinds:
                symbols = ", ".join(f'"{item}"' for item in kinds["enum"]["symbols"])
                yield f"{path} may be any text", f"make it a Literal[{symbols}]"
            case inspect.IntType() if "int" in kinds and "long" not in kinds and not _within(part):
                yield (
                    f"{path} is an int of Python, which does not end where an Avro int does, at {_INT - 1}",
                    "make it a long in a new version, or bound the class: Annotated[int, msgspec.Meta(ge=.., le=..)]",
                )
            case inspect.DataclassType() if "record" in kinds:
                by_name = {item["name"]: item["type"] for item in kinds["record"]["fields"]}
                for field in part.fields:
                    if field.encode_name in by_name:
                        place = f"{path}.{field.name}".lstrip(".")
                        yield from _of(field.type, by_name[field.encode_name], place, named)
            case inspect.DictType() if "map" in kinds:
                yield from _of(part.value_type, kinds["map"]["values"], f"{path}[]", named)
            case _ if "array" in kinds and hasattr(part, "item_type"):
                yield from _of(part.item_type, kinds["array"]["items"], f"{path}[]", named)


def _list(schema: Any) -> list[Any]:
    return schema if isinstance(schema, list) else [schema]


def _within(form: Any) -> bool:
    """Whether an int of the class is one of Avro."""
    lowest = form.ge if form.ge is not None else form.gt
    highest = form.le if form.le is not None else form.lt
    return lowest is not None and highest is not None and lowest >= -_INT and highest <= _INT
