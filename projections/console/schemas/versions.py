"""The versions of each record of a type, each beside the one before, and the way on which it is read today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from schemas.codec import Codec
from schemas.registry import Schema, SchemaError

MOST_TYPE = 300
"""Characters of what a field's type is."""


class FieldChange(msgspec.Struct, frozen=True):
    """A field that differs from the version before: its type there and here, empty where it has none. `was` is its name
    there, where it had another."""

    name: str
    change: Literal["added", "removed", "changed", "renamed"]
    before: str
    after: str
    was: str = ""


class Step(msgspec.Struct, frozen=True):
    """A step on the way to what a version is read as today: `to` is the record and version that Avro's resolution leads
    to, or the events that an upcaster makes are for the code to say."""

    by: Literal["resolution", "upcaster"]
    to: str = ""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a record.

    compatibility   `BACKWARD`: code that knows only older versions must not read it
    is_known        whether this code has its file; otherwise another version has left it in the journal
    changes         what differs from the version before
    way             how it is read today; empty where it is the newest
    events          so many of it were counted; null for a command
    reads_as        what the first event of it that was counted stands for today; null where none was
    """

    version: int
    fingerprint: str
    compatibility: str
    is_known: bool
    fields: Mapping[str, str]
    changes: Sequence[FieldChange]
    way: Sequence[Step]
    events: int | None
    reads_as: Sequence[str] | None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record: an event or a command, and its versions, the newest first. `is_used`: code of today has a class for
    it."""

    name: str
    kind: Literal["event", "command"]
    is_used: bool
    versions: Sequence[Version]


class Seen(msgspec.Struct):
    """What was counted of one version."""

    events: int = 0
    reads_as: Sequence[str] | None = None


def records_of(
    events: Codec,
    commands: Iterable[Schema],
    classes: Mapping[str, type],
    kept: Mapping[str, str],
    seen: Mapping[str, Seen],
) -> list[Record]:
    """All records of a type. `kept` are the schemas that its journal has, also those of other types and of the engine:
    of these the ones count that are of a record known here, or that an event of the type has. `seen` is what was
    counted; both are by fingerprint. `classes` are those of today by name.
    """
    own = {**{schema.fingerprint: schema for schema in events.own}, **{it.fingerprint: it for it in commands}}
    named = {schema.name for schema in commands}
    others = {key: found for key, json in kept.items() if key not in own and (found := _parsed(json)) is not None}
    names = {schema.full_name for schema in own.values()}
    all_schemas = {**own, **{key: it for key, it in others.items() if it.full_name in names or key in seen}}
    by_name: dict[str, list[Schema]] = {}
    for schema in sorted(all_schemas.values(), key=lambda it: (it.name, it.version)):
        by_name.setdefault(schema.name, []).append(schema)
    return [
        Record(
            name=name,
            kind="command" if name in named else "event",
            is_used=name in classes,
            versions=[
                _version(events, schema, before, schema.fingerprint in own, name in named, seen)
                for before, schema in zip([None, *versions], versions, strict=False)
            ][::-1],
        )
        for name, versions in by_name.items()
    ]


def _parsed(json: str) -> Schema | None:
    try:
        return Schema.parse(json)
    except SchemaError:
        return None


def _version(
    events: Codec, schema: Schema, before: Schema | None, is_known: bool, is_command: bool, seen: Mapping[str, Seen]
) -> Version:
    found = seen.get(schema.fingerprint, Seen())
    return Version(
        version=schema.version,
        fingerprint=schema.fingerprint,
        compatibility=schema.compatibility,
        is_known=is_known,
        fields={name: text for name, (text, _) in _fields(schema).items()},
        changes=[] if before is None else changes(before, schema),
        way=[] if is_command or not is_known else way(events, schema),
        events=None if is_command else found.events,
        reads_as=None if is_command else found.reads_as,
    )


def way(codec: Codec, schema: Schema) -> list[Step]:
    """How bytes of a version are read, as far as the schemas say: by Avro's resolution to another version, and from
    there by an upcaster, whose events go on by themselves."""
    target = codec.target_of(schema)
    steps = [] if target is schema else [Step("resolution", f"{target.name}.v{target.version}")]
    return [*steps, Step("upcaster")] if codec.has_upcaster(target) else steps


def changes(before: Schema, after: Schema) -> list[FieldChange]:
    """What differs between two versions, field by field."""
    old, new = _fields(before), _fields(after)
    found: list[FieldChange] = []
    gone = {name for name in old if name not in new}
    for name, (text, aliases) in new.items():
        was = next((alias for alias in aliases if alias in gone), "")
        if was:
            gone.discard(was)
            found.append(FieldChange(name, "renamed", old[was][0], text, was))
        elif name not in old:
            found.append(FieldChange(name, "added", "", text))
        elif old[name][0] != text:
            found.append(FieldChange(name, "changed", old[name][0], text))
    return [*found, *(FieldChange(name, "removed", old[name][0], "") for name in old if name in gone)]


def _fields(schema: Schema) -> dict[str, tuple[str, Sequence[str]]]:
    """By name what a field's type is, with its default, and the names that it had before."""
    raw = msgspec.json.decode(schema.json)
    return {field["name"]: (_described(field), field.get("aliases", ())) for field in raw["fields"]}


def _described(field: Mapping[str, Any]) -> str:
    text = type_text(field["type"])[:MOST_TYPE]
    return f"{text} = {msgspec.json.encode(field['default']).decode()[:80]}" if "default" in field else text


def type_text(type_: Any) -> str:
    """The type of a field for people: `decimal(12, 4)`, `string or null`, `list of Line (sku: string, ..)`."""
    if isinstance(type_, str):
        return type_.rpartition(".")[2]
    if isinstance(type_, list):
        return " or ".join(map(type_text, sorted(type_, key=lambda option: option == "null")))
    kind, logical = type_.get("type"), type_.get("logicalType")
    if logical == "decimal":
        return f"decimal({type_.get('precision')}, {type_.get('scale', 0)})"
    if logical:
        return str(logical)
    match kind:
        case "array":
            return f"list of {type_text(type_['items'])}"
        case "map":
            return f"map of {type_text(type_['values'])}"
        case "enum":
            return f"{type_['name']} ({', '.join(type_['symbols'])})"
        case "fixed":
            return f"{type_['name']} ({type_['size']} bytes)"
        case "record":
            parts = ", ".join(f"{field['name']}: {type_text(field['type'])}" for field in type_["fields"])
            return f"{type_['name']} ({parts})"
        case _:
            return type_text(kind)
