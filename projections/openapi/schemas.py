"""The JSON Schemas of types, with the docs of the Avro schemas where a command or an event has one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from aggregates.personal import PersonalForm
from schemas.registry import Schema
from schemas.sealing import GONE, TOKEN
from streams.aggregate_type import AggregateType

_REF = "#/components/schemas/{name}"
DECIMAL = "^-?[0-9]{1,14}([.][0-9]{1,4})?$"
"""A decimal string, as Avro keeps it: 18 digits, 4 of them behind the point. Never a float."""


class TypeSchemas:
    """The schemas of some types, by type; `components` are those that they refer to, by name."""

    def __init__(self, schemas: Mapping[Any, dict[str, Any]], components: dict[str, Any]) -> None:
        self._schemas = schemas
        self.components = components

    def of(self, type_: Any) -> dict[str, Any]:
        """The schema of a type, or where it stands."""
        return self._schemas[type_]


def schemas_of(types: Iterable[Any], contexts: Mapping[str, AggregateType]) -> TypeSchemas:
    """The schemas of all these types. Where two of them have one name, the module that they are in goes before it."""
    wanted = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(wanted, schema_hook=_hook, ref_template=_REF)
    names = {name: _short(name) for name in components}
    known: dict[str, Any] = {names[name]: _tidy(schema, names) for name, schema in sorted(components.items())}
    for context in contexts.values():
        for name in {**context.decider.commands, **context.decider.events}:
            _document(known, context.schemas.newest(name))
    return TypeSchemas({type_: _tidy(schema, names) for type_, schema in zip(wanted, schemas, strict=True)}, known)


def _hook(type_: type) -> dict[str, Any]:
    """What JSON has for a value of a type that is none of its own."""
    if getattr(type_, "__origin__", type_) is not PersonalForm:
        raise NotImplementedError
    sealed = {"type": "object", "required": [TOKEN], "properties": {TOKEN: {"type": "string"}}}
    erased = {"type": "object", "required": [GONE], "properties": {GONE: {"const": True}}}
    return {"description": "A personal value, sealed, or of somebody who was forgotten", "anyOf": [sealed, erased]}


def _short(name: str) -> str:
    """`aggregates.shop.order.State` is `OrderState`."""
    module, _, own = name.rpartition(".")
    before = module.rpartition(".")[2]
    return "".join(part.capitalize() for part in before.split("_")) + own.removeprefix("_")


def _tidy(schema: Any, names: Mapping[str, str]) -> Any:
    """Other names for what is referred to, docs without the margins of code, and the form of decimals."""
    if isinstance(schema, list | tuple):
        return [_tidy(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value, names) for key, value in schema.items()}
    if isinstance(ref := tidy.get("$ref"), str):
        tidy["$ref"] = _renamed(ref, names)
    if isinstance(about := tidy.get("description"), str):
        tidy["description"] = " ".join(about.split())
    if "anyOf" in tidy and (choice := tidy.get("discriminator")) is not None:
        tidy["oneOf"] = tidy.pop("anyOf")
        choice["mapping"] = {tag: _renamed(ref, names) for tag, ref in choice["mapping"].items()}
    if tidy.get("format") == "decimal":
        tidy["pattern"] = DECIMAL
    return tidy


def _renamed(ref: str, names: Mapping[str, str]) -> str:
    # What a view refers to by name itself has its final name.
    name = ref.rpartition("/")[2]
    return _REF.format(name=names.get(name, name))


def _document(known: dict[str, Any], schema: Schema) -> None:
    """Say of a record, its fields and the records in it what their Avro schema says."""
    for record in _records(json.loads(schema.json)):
        own = known.get(record["name"].rpartition(".")[2])
        if own is None or own.get("type") != "object":
            continue
        if about := record.get("doc"):
            own["description"] = about
        for field in record["fields"]:
            shown = own["properties"].get(field["name"])
            if shown is None:
                continue
            if about := field.get("doc"):
                shown["description"] = about
            if "timestamp-millis" in json.dumps(field["type"]):
                for branch in shown.get("anyOf", [shown]):
                    if branch.get("type") == "string":
                        branch["format"] = "date-time"


def _records(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _records(branch)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
            for field in schema["fields"]:
                yield from _records(field["type"])
        else:
            for part in ("type", "items", "values"):
                if isinstance(schema.get(part), dict | list):
                    yield from _records(schema[part])
