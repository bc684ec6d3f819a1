"""The checks of each schema by itself and beside the others of today: names, documentation, values, classes."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from fastavro.schema import to_parsing_canonical_form

from schemas.fit import fitted
from schemas.formats import AVRO
from schemas.registry import Schema
from schemas.release.contract import Contract, SchemaProblem, dataclasses_of, named_types, records, types_in
from schemas.release.extremes import extremes
from schemas.release.samples import example, fields_of_object, object_of
from schemas.release.wider import wider


def form(contracts: Sequence[Contract]) -> Iterator[SchemaProblem]:
    """All problems of the form of schemas."""
    yield from _names(contracts)
    for contract in contracts:
        yield from _versions(contract)
        yield from _documentation(contract)
        yield from _values(contract)
        yield from _retired(contract)
        yield from classes(contract)
        yield from _wider(contract)
        yield from _nested(contract)


def _names(contracts: Iterable[Contract]) -> Iterator[SchemaProblem]:
    owners: dict[str, str] = {}
    for contract in contracts:
        for schema in contract.schemas:
            where, expected = contract.file(schema), f".{contract.type}"
            if not schema.namespace.endswith(expected) and schema.namespace != contract.type:
                what = f"the namespace is {schema.namespace or 'missing'}"
                yield SchemaProblem(
                    where, what, f'write "namespace": "<project>.{contract.type}", as all of this folder have it'
                )
                continue
            owner = owners.setdefault(schema.namespace, contract.type)
            if owner != contract.type:
                what = f"the namespace {schema.namespace} is that of {owner} too"
                yield SchemaProblem(where, what, "a namespace belongs to one aggregate type: give it one of its own")
    for contract in contracts:
        spaces = sorted({schema.namespace for schema in contract.schemas})
        if len(spaces) > 1:
            yield SchemaProblem(
                contract.type, f"has the namespaces {', '.join(spaces)}", "one namespace a folder: choose one"
            )


def _versions(contract: Contract) -> Iterator[SchemaProblem]:
    for versions in contract.versions():
        for expected, schema in enumerate(versions, 1):
            if schema.version != expected:
                what = f"there is no version {expected} of {schema.name}"
                yield SchemaProblem(contract.file(schema), what, f"name this file {schema.name}.v{expected}.avsc")
                break


def _documentation(contract: Contract) -> Iterator[SchemaProblem]:
    for schema in contract.schemas:
        for record in records(schema):
            if not str(record.get("doc", "")).strip():
                yield SchemaProblem(contract.file(schema), f"{record['name']} has no doc", 'say in "doc" what it means')
            for field in record["fields"]:
                if not str(field.get("doc", "")).strip():
                    what = f"the field {field['name']} of {record['name']} has no doc"
                    yield SchemaProblem(contract.file(schema), what, 'say in "doc" what it means, and in which unit')


def _values(contract: Contract) -> Iterator[SchemaProblem]:
    for schema in contract.schemas:
        for record in records(schema):
            for field in record["fields"]:
                types = list(types_in(field["type"], of_records=False))
                where, name = contract.file(schema), field["name"]
                kinds = {kind.get("logicalType", "") for kind in types if isinstance(kind, dict)}
                if local := sorted(kind for kind in kinds if kind.startswith("local-")):
                    what = f"the field {name} is a {local[0]}, a time without a zone, which is another one everywhere"
                    yield SchemaProblem(where, what, f'use "logicalType": "{local[0].removeprefix("local-")}"')
                if not field.get("approximate") and ("float" in types or "double" in types):
                    yield SchemaProblem(
                        where,
                        f"the field {name} is a float, which no amount of money is",
                        'use bytes with "logicalType": "decimal"; a measure that is none says "approximate": true',
                    )


def _retired(contract: Contract) -> Iterator[SchemaProblem]:
    """A record without a class must be retired."""
    renamed = {alias for schema in contract.schemas for alias in schema.aliases}
    upcasted = {(upcaster.name, upcaster.version) for upcaster in contract.schemas.upcasters}
    for versions in contract.versions():
        newest = versions[-1]
        retired = newest.full_name in renamed or (newest.name, newest.version) in upcasted
        if newest.name not in contract.classes and not retired:
            yield SchemaProblem(
                contract.file(newest),
                f"no command or event of {contract.type} is a {newest.name}",
                "keep its class in the union of commands or events, or name it in the aliases of the record that it "
                f'has become, or drop it with Upcaster("{newest.name}", {newest.version}, dropped)',
            )


def classes(contract: Contract) -> Iterator[SchemaProblem]:
    """A class and its newest schema must have the same fields."""
    for versions in contract.versions():
        newest = versions[-1]
        class_ = contract.classes.get(newest.name)
        if class_ is None:
            continue
        by_schema = [[field["name"] for field in record["fields"]] for record in records(newest)]
        by_class = [[field.name for field in fields(part)] for part in dict.fromkeys(dataclasses_of(class_))]
        if by_class != by_schema:
            yield SchemaProblem(
                contract.file(newest),
                f"the class {newest.name} has {_fields(by_class)}, this schema has {_fields(by_schema)}",
                "give both the same fields in the same order; where this version is released, leave it as it is and "
                f"add {newest.name}.v{newest.version + 1}.avsc with those of the class",
            )
            continue
        try:
            value = object_of(newest, example(newest), class_)
            AVRO.writer(newest)(fitted(newest).fit(fields_of_object(newest, value)))
        except Exception as error:
            what = f"the class {newest.name} does not hold what this schema says: {error}"
            yield SchemaProblem(
                contract.file(newest), what, "give its fields the types of the schema, or add a version"
            )
            continue
        # A command that its class cannot hold is unreadable, and that is said; an event would stay so for ever.
        if newest.name in contract.decider.events and (why := _narrower(newest, class_)):
            yield SchemaProblem(
                contract.file(newest),
                f"the class {newest.name} is narrower than this schema: {why}",
                "an event of it may have been written: let the class hold it, or give what it excludes a new version "
                "with an upcaster",
            )


def _narrower(schema: Schema, class_: builtins.type) -> str:
    """The first place in which a class does not hold what its schema allows, and why; empty when there is none."""
    fit, write = fitted(schema).fit, AVRO.writer(schema)
    for place, extreme in extremes(schema):
        try:
            value = object_of(schema, extreme, class_)
            as_read = fit(fields_of_object(schema, value))
            write(as_read)
        except Exception as error:
            return f"{place[1:]}: {error}"
        if object_of(schema, as_read, class_) != value:
            return f"{place[1:]}: it does not come back as it is"
    return ""


def _wider(contract: Contract) -> Iterator[SchemaProblem]:
    """A schema must be able to write all that the class of its event can hold."""
    for versions in contract.versions():
        newest = versions[-1]
        class_ = contract.decider.events.get(newest.name)
        if class_ is not None:
            for what, do in wider(newest, class_):
                where = contract.file(newest)
                yield SchemaProblem(where, f"the class {newest.name} is wider than this schema: {what}", do)


def _fields(records: list[list[str]]) -> str:
    """The fields of a record and of the records in it, for people."""
    return "; in it ".join(f"the fields {', '.join(names)}" if names else "no fields" for names in records)


def _nested(contract: Contract) -> Iterator[SchemaProblem]:
    seen: dict[str, tuple[str, str]] = {}
    for newest in (versions[-1] for versions in contract.versions() if versions[-1].name in contract.classes):
        for named in named_types(newest.parsed):
            form = to_parsing_canonical_form(named)
            first, other = seen.setdefault(named["name"], (form, contract.file(newest)))
            if first != form:
                what = f"{named['name']} is not what it is in {other}"
                yield SchemaProblem(
                    contract.file(newest), what, "code made from both would clash: say the same in both"
                )
