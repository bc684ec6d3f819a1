"""Whether code that knows one version of a record can read what another version wrote.

Avro's rules of resolution decide (the `avro` library's checker, as in Avro's specification, "Schema Resolution"), and a
check of changes that these rules let pass although values would get another meaning: a logical type, a scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import avro.schema
import msgspec
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from schemas.registry import Schema

_LOGICAL = ("logicalType", "precision", "scale")


def unreadable(reader: Schema, writer: Schema) -> list[str]:
    """The reasons why code that knows `reader` cannot read data of `writer`, or would read it with another meaning.

    A renamed record counts as the same where the other one's name is its alias.
    """
    mine, theirs = msgspec.json.decode(reader.json), msgspec.json.decode(writer.json)
    if reader.full_name != writer.full_name:
        if writer.full_name not in reader.aliases:
            return [f"{reader.full_name} has no alias {writer.full_name}"]
        mine = {**mine, "name": theirs["name"], "aliases": []}
    return [*_by_avro(mine, theirs), *_by_meaning(mine, theirs)]


def _by_avro(mine: Any, theirs: Any) -> Iterator[str]:
    reader, writer = (avro.schema.parse(msgspec.json.encode(schema).decode()) for schema in (mine, theirs))
    result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)  # type: ignore[no-untyped-call]
    if result.compatibility is SchemaCompatibilityType.compatible:
        return
    details = ", ".join(sorted(str(message) for message in result.messages))
    for kind in dict.fromkeys(incompatibility.name for incompatibility in result.incompatibilities):
        yield {
            "reader_field_missing_default_value": f"the field {details} is missing there, and has no default",
            "missing_enum_symbols": f"the enum has other symbols there: {details}",
            "missing_union_branch": f"a union has other branches there: {details}",
            "name_mismatch": f"a named type has another name there: {details}",
            "fixed_size_mismatch": f"a fixed has another size there: {details}",
        }.get(kind, f"a type is another one there: {details}")


def _by_meaning(mine: Any, theirs: Any) -> Iterator[str]:
    """Differences at which resolution does not look."""
    my_kinds, their_kinds = dict(_kinds(mine)), dict(_kinds(theirs))
    for path in my_kinds.keys() & their_kinds.keys():
        if my_kinds[path] != their_kinds[path]:
            yield f"{path} is {_told(their_kinds[path])} there and {_told(my_kinds[path])} here: no reader notices that"


def _kinds(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The logical type of each value, by its path of field names; an optional value has the path of the value."""
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        for branch in branches:
            own = branch if isinstance(branch, str) else branch.get("name", branch["type"])
            yield from _kinds(branch, path if len(branches) == 1 else f"{path}|{own}")
        return
    if isinstance(schema, str):
        yield path, {}
        return
    match schema["type"]:
        case "record":
            for field in schema["fields"]:
                for name in (field["name"], *field.get("aliases", ())):
                    yield from _kinds(field["type"], f"{path}.{name}".lstrip("."))
        case "array":
            yield from _kinds(schema["items"], f"{path}[]")
        case "map":
            yield from _kinds(schema["values"], f"{path}{{}}")
        case "enum" | "fixed":
            return
        case str():
            yield path, {name: schema[name] for name in _LOGICAL if name in schema}
        case other:
            yield from _kinds(other, path)


def _told(kind: dict[str, Any]) -> str:
    if not kind:
        return "no logical type"
    details = ", ".join(f"{name} {kind[name]}" for name in _LOGICAL[1:] if name in kind)
    return f"{kind.get('logicalType', 'no logical type')}" + (f" ({details})" if details else "")
