"""The schemas and classes of one aggregate type as a contract, and a problem with it."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any, get_args, get_type_hints

import msgspec

from aggregates.decider import Decider
from schemas.registry import Schema, Schemas
from schemas.release import lock


@dataclass(frozen=True)
class SchemaProblem:
    """A problem that must not be deployed: `where` it is, `what` it is, and what to `do`."""

    where: str
    what: str
    do: str

    @property
    def file(self) -> str:
        """The name of the file, where it is in one."""
        return self.where.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n    {self.do}"


@dataclass(frozen=True)
class Contract:
    """The schemas of one aggregate type, and the decider whose classes they describe."""

    decider: Decider[Any, Any, Any]
    schemas: Schemas

    @property
    def type(self) -> str:
        """The aggregate type, which is also the folder."""
        return self.decider.type

    @property
    def classes(self) -> dict[str, builtins.type]:
        """The classes of commands and events by name."""
        return self.decider.commands | self.decider.events

    def file(self, schema: Schema) -> str:
        """The file of a schema, below the schema root."""
        return lock.lock_key(self.type, schema)

    def versions(self) -> Iterator[list[Schema]]:
        """The versions of each record, ascending."""
        by_name: dict[str, list[Schema]] = {}
        for schema in self.schemas:
            by_name.setdefault(schema.full_name, []).append(schema)
        yield from by_name.values()


def types_in(type_: Any, *, of_records: bool = True) -> Iterator[Any]:
    """A type and all types in it, from the outside in. Without `of_records` not the types of a record's fields."""
    if isinstance(type_, list):
        for branch in type_:
            yield from types_in(branch, of_records=of_records)
    elif type_ is not None:
        yield type_
        if isinstance(type_, dict):
            for field in type_.get("fields", ()) if of_records else ():
                yield from types_in(field["type"])
            if type_["type"] != "record":
                for inner in (type_.get("items"), type_.get("values"), type_["type"]):
                    yield from types_in(inner, of_records=of_records)


def records(schema: Schema) -> Iterator[dict[str, Any]]:
    """The records of a schema, its own and those nested in it, each where it is defined."""
    for type_ in types_in(msgspec.json.decode(schema.json)):
        if isinstance(type_, dict) and type_["type"] == "record":
            yield type_


def named_types(parsed: Any) -> Iterator[dict[str, Any]]:
    """The named types that a parsed schema defines, without itself."""
    for type_ in types_in(parsed):
        if isinstance(type_, dict) and "name" in type_ and type_ is not parsed:
            yield type_


def dataclasses_of(type_: Any) -> Iterator[type]:
    """A class and the dataclasses that its fields hold."""
    if is_dataclass(type_) and isinstance(type_, type):
        yield type_
        for held in get_type_hints(type_).values():
            yield from dataclasses_of(held)
    for part in get_args(type_):
        yield from dataclasses_of(part)


def fields_of(schema: Schema) -> dict[str, dict[str, Any]]:
    """A record's fields, under their aliases too."""
    by_name: dict[str, dict[str, Any]] = {}
    for field in msgspec.json.decode(schema.json)["fields"]:
        for name in (field["name"], *field.get("aliases", ())):
            by_name[name] = field
    return by_name
