"""The checks of marks: what is personal is sealed from its first event on, and stays marked for ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from msgspec import inspect

from aggregates.personal import PersonalForm
from schemas.registry import Schema
from schemas.release.contract import Contract, SchemaProblem, records
from schemas.sealing import CLEAR_TYPES, ITSELF, PERSONAL, SEALED_TYPES, fields_of, marks_of

_FORM = '"personal": {"subject": "#id"} for the aggregate itself, or the name of the field that says whose it is'


def marks(contract: Contract) -> Iterator[SchemaProblem]:
    """All problems of the marks of personal fields, but for those with the lock."""
    for schema in contract.schemas:
        is_command = schema.name in contract.decider.commands
        for what, do in (*_in_one(schema, is_command), *_within(schema)):
            yield SchemaProblem(contract.file(schema), what, do)
    for versions in contract.versions():
        newest = versions[-1]
        for what, do in _of_class(newest, contract.decider.events.get(newest.name)):
            yield SchemaProblem(contract.file(newest), what, do)
        for older, newer in pairwise(versions):
            for name in _taken_away(older, newer):
                what = f"{name} was personal in version {older.version}, and is not marked any more"
                yield SchemaProblem(contract.file(newer), what, "mark it as before: who was promised it is owed it")


def marks_unlike(
    contract: Contract, schema: Schema, present: Sequence[str], released: Sequence[str]
) -> Iterator[SchemaProblem]:
    """The problems with the marks of a version that is released."""
    where = contract.file(schema)
    for mark in sorted(set(released) - set(present)):
        name, _, subject = mark.partition("=")
        what = f"is released with a mark: {name} is personal, its subject is {subject}"
        yield SchemaProblem(where, what, "put the mark back as it was")
    if schema.name not in contract.decider.commands:
        for mark in sorted(set(present) - set(released)):
            name = mark.partition("=")[0]
            what = f"is released, and its field {name} has no mark there: events of it are in the clear"
            do = f"take the mark out, and add it in {schema.name}.v{schema.version + 1}.avsc, in the type bytes"
            yield SchemaProblem(where, what, do)


def _in_one(schema: Schema, is_command: bool) -> Iterator[tuple[str, str]]:
    found = marks_of(schema)
    fields = {field["name"]: field for field in fields_of(schema)}
    for name, subject in found.items():
        kind = fields[name]["type"]
        if name == "id" or name.endswith("_id") or name in found.values():
            yield (
                f"{name} is marked as personal, and is a key",
                "keys are never sealed, since all is found by them: use a surrogate that tells nothing",
            )
        elif not subject:
            yield f"the mark of {name} is none", f"write {_FORM}"
        elif subject in found:
            yield f"the subject of {name} is {subject}, which is personal itself", f"write {_FORM}"
        elif subject != ITSELF and (subject not in fields or fields[subject]["type"] != "string"):
            yield f"the subject of {name} is {subject}, which is no field of the type string", f"write {_FORM}"
        elif is_command and kind not in CLEAR_TYPES:
            yield f"{name} is personal, and {_type(kind)}", 'give it the type "string", or ["null", "string"]'
        elif not is_command and kind not in SEALED_TYPES:
            do = 'give it the type "bytes", or ["null", "bytes"], which is that of what is sealed'
            yield f"{name} is personal, and {_type(kind)}", do
        elif fields[name].get("aliases"):
            yield f"{name} is personal, and has an alias", "what is sealed is bound to the field's name: keep that"
        elif fields[name].get("default") is not None:
            yield f"{name} is personal, and has a default", "leave it out, or let it be null"


def _type(kind: Any) -> str:
    return f"of the type {kind}" if isinstance(kind, str) else "not of one type that can be sealed"


def _within(schema: Schema) -> Iterator[tuple[str, str]]:
    _, *inner = records(schema)
    for record in inner:
        for field in record["fields"]:
            if PERSONAL in field:
                yield (
                    f"{field['name']} of {record['name']}, which is within it, is marked",
                    "only a field of the event itself can be sealed: move it there",
                )


def _of_class(schema: Schema, class_: type | None) -> Iterator[tuple[str, str]]:
    """Whether the class of an event says of the same fields that they are personal."""
    form = inspect.type_info(class_) if class_ is not None else None
    if not isinstance(form, inspect.DataclassType):
        return
    found = marks_of(schema)
    for field in form.fields:
        is_personal = any(
            isinstance(part, inspect.CustomType) and part.cls is PersonalForm
            for part in (field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,))
        )
        if is_personal != (field.encode_name in found):
            said = "has no mark" if is_personal else "has one"
            kind = "Personal" if is_personal else "not Personal"
            yield (
                f"{field.name} is {kind} in the class {schema.name}, and {said} here",
                "say the same in both: Personal[str] there, and the mark here",
            )


def _taken_away(older: Schema, newer: Schema) -> list[str]:
    names = {name for field in fields_of(newer) for name in (field["name"], *field.get("aliases", ()))}
    return sorted(name for name in marks_of(older).keys() - marks_of(newer).keys() if name in names)
