"""A drafted schema beside the version before it: what the class leaves open is as it was.

The file is the contract. It keeps the docs that nobody says in the class, its aliases, its defaults, and the types that
a class can mean too: an int of 32 bits, microseconds, the digits of a decimal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aggregates.digits import Digits
from schemas.drafting import words
from schemas.drafting.defaults import NoDefault, branch_of, default_of
from schemas.drafting.types import Default
from schemas.registry import SchemaError
from schemas.sealing import PERSONAL

RECORD = ("type", "name", "aliases", "namespace", "doc", "compatibility", "fields")
FIELD = ("name", "type", "aliases", "default", "approximate", "doc")
ENUM = ("type", "name", "aliases", "doc", "symbols", "default")
"""The order of keys in a file. Any others follow."""

_MEANS: dict[str, tuple[str, ...]] = {
    "long": ("int",),
    "double": ("float",),
    "timestamp-millis": ("timestamp-micros",),
    "time-millis": ("time-micros",),
}
"""What a type of Python may be in Avro besides what is drafted for it."""

Renamed = Mapping[str, Mapping[str, str]]
"""By record, by the new name of a field the name that it had before; by "" those of records."""


class Merger:
    """Fills in what drafts leave open.

    before   the named types of the version before, and of other records of the type, by name
    renamed  the fields that have another name now
    """

    def __init__(self, before: Mapping[str, dict[str, Any]], renamed: Renamed) -> None:
        self._before = before
        self._renamed = renamed
        self._named: dict[str, Any] = {}
        self.unsaid: list[str] = []
        """What has only its name as its doc, `Record.field`."""

    def record(self, made: dict[str, Any], base: dict[str, Any] | None) -> dict[str, Any]:
        """A record with all that is open filled in. Raises `SchemaError` for a default that is none."""
        name, base = made["name"], base or {}
        doc = made["doc"] or base.get("doc", "")
        if not doc:
            self.unsaid.append(name)
        before = {field["name"]: field for field in base.get("fields", ())}
        renamed = self._renamed.get(name, {})
        fields = [
            self._field(name, field, before.get(field["name"]) or before.get(renamed.get(field["name"], "")))
            for field in made["fields"]
        ]
        kept = {key: value for key, value in base.items() if key not in ("compatibility", "version")}
        filled = _ordered({**kept, **made, "doc": doc or words.from_words(name), "fields": fields}, RECORD)
        self._named[name] = filled
        return filled

    def _field(self, record: str, made: dict[str, Any], base: dict[str, Any] | None) -> dict[str, Any]:
        name, base = made["name"], base or {}
        doc = made["doc"] or base.get("doc", "")
        if not doc:
            self.unsaid.append(f"{record}.{name}")
        kind = self._type(made["type"], base.get("type"))
        filled: dict[str, Any] = {**base, **made, "type": kind, "doc": doc or words.from_words(name)}
        if PERSONAL in made and PERSONAL in base:  # whose it is, the file may say otherwise
            filled[PERSONAL] = base[PERSONAL]
        if base and base["name"] != name:
            filled["aliases"] = [*base.get("aliases", ()), base["name"]]
        if "default" not in made and "default" in base and _text(kind) != _text(base["type"]):
            del filled["default"]  # it was one of another type
        if isinstance(made.get("default"), Default):
            self._set_default(filled, made["default"], base)
        return _ordered(filled, FIELD)

    def _set_default(self, field: dict[str, Any], default: Default, base: dict[str, Any]) -> None:
        """In a union the branch of the default is first. A default of the file is what older events say: it stays."""
        if "default" in base and _text(field["type"]) == _text(base["type"]):
            field["type"] = _in_order_of(field["type"], base["type"])
            field["default"] = base["default"]
            return
        try:
            if isinstance(kinds := field["type"], list):
                first = branch_of(kinds, default.value, self._named)
                field["type"] = [kinds[first], *kinds[:first], *kinds[first + 1 :]]
            field["default"] = default_of(field["type"], default.value, self._named)
        except NoDefault as error:
            raise SchemaError(f"{default.where}: its default {error}") from None

    def _type(self, made: Any, base: Any) -> Any:
        if isinstance(made, list):
            bases = base if isinstance(base, list) else [base]
            return [self._type(branch, _alike(branch, bases)) for branch in made]
        if isinstance(base, list):  # it is optional no more, or more so
            base = _alike(made, base)
        if isinstance(made, str):
            return base if base in _MEANS.get(made, ()) else made
        if "logicalType" in made:
            return _logical(made, base if isinstance(base, dict) else {})
        match made["type"]:
            case "record":
                return self.record(made, self._before.get(made["name"]))
            case "enum":
                known = self._before.get(made["name"], {})
                kept = {key: value for key, value in known.items() if key in ("doc", "default", "aliases")}
                filled = _ordered({**kept, **made}, ENUM)
                self._named[made["name"]] = filled
                return filled
            case "array":
                return {**made, "items": self._type(made["items"], _part(base, "items"))}
            case "map":
                return {**made, "values": self._type(made["values"], _part(base, "values"))}
        return made


def bare(schema: Any) -> Any:
    """What a schema says of bytes and their meaning: no docs, defaults and aliases, and unions in one order."""
    if isinstance(schema, dict):
        return {
            key: sorted(map(_text, value)) if key in _TYPES and isinstance(value, list) else bare(value)
            for key, value in schema.items()
            if key not in _TOLD
        }
    return [bare(item) for item in schema] if isinstance(schema, list) else schema


_TYPES = ("type", "items", "values")
_TOLD = ("doc", "default", "aliases", "approximate", "compatibility", "version")


def _text(kind: Any) -> str:
    """A type as text, which is the same for the same type."""
    return json.dumps(bare({"type": kind}), sort_keys=True)


def _in_order_of(kind: Any, base: Any) -> Any:
    if not isinstance(kind, list):
        return kind
    order = [_text(branch) for branch in base]
    return sorted(kind, key=lambda branch: order.index(_text(branch)))


def _logical(made: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    logical, was = made["logicalType"], base.get("logicalType", "")
    if logical == "decimal":
        if "precision" in made:
            return made
        return base if was == "decimal" else {**made, "precision": Digits().precision, "scale": Digits().scale}
    return base if was in _MEANS.get(logical, ()) else made


def _alike(made: Any, bases: list[Any]) -> Any:
    """The branch of the version before that is of the same kind; None for none."""
    return next((base for base in bases if base is not None and _kind(base) == _kind(made)), None)


def _kind(kind: Any) -> str:
    if isinstance(kind, str):
        return {"int": "long", "float": "double"}.get(kind, kind)
    logical = kind.get("logicalType", "").replace("micros", "millis")
    return str(kind.get("name") or logical or kind["type"])


def _part(base: Any, name: str) -> Any:
    return base.get(name) if isinstance(base, dict) else None


def _ordered(value: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value[key] for key in (*keys, *(key for key in value if key not in keys)) if key in value}
