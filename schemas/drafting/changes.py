"""What a new version of a schema changes, in words, and the upcaster that it may need."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from schemas.registry import BACKWARD, Schema


def changes(old: dict[str, Any], new: dict[str, Any], older: str) -> Iterator[str]:
    """Each change between two versions of a record, one line each. `older` is what the old one is called."""
    before, after = dict(_fields(old)), dict(_fields(new))
    gone = {path for path in before if path not in after}
    for path, field in after.items():
        known = before.get(path)
        if known is None:
            parent, _, _ = path.rpartition(".")
            names = [f"{parent}.{alias}".lstrip(".") for alias in field.get("aliases", ())]
            former = next((name for name in names if name in before), None)
            gone.discard(former or "")
            if former is not None:
                yield f"{path} was {former}: read by its alias"
            elif parent.rstrip("[]{}") not in before and parent:
                continue  # all of that record is new
            elif "default" in field:
                yield f"{path} is new; {older} reads as {_json(field['default'])}"
            else:
                yield f"{path} is new, and {older} says nothing of it"
        elif _told(known["type"]) != _told(field["type"]):
            yield f"{path} is {_told(field['type'])}, and was {_told(known['type'])}"
    for path in before:
        if path in gone and path.rpartition(".")[0].rstrip("[]{}") not in gone:
            field = before[path]
            without = (
                f"code of {older} reads {_json(field['default'])}" if "default" in field else "which had no default"
            )
            yield f"{path} is gone; {without}"
    shared = [path for path in before if path in after]
    if shared != [path for path in after if path in before]:
        yield "the fields are in another order"
    if new.get("compatibility") == BACKWARD:
        yield f'"compatibility": "{BACKWARD}": workers that know only {older} stop at it and wait for newer ones'


def upcaster(type: str, old: Schema, new: dict[str, Any], version: int) -> str:
    """The draft of an upcaster, for `upcasters.py` of the schema root, with `...` where only its author knows."""
    function = f"{'_'.join(re.findall('[A-Z]*[a-z0-9]*', old.name)).strip('_').lower()}_{old.version}"
    known = {field["name"] for field in old.parsed["fields"]}
    values = []
    for field in new["fields"]:
        former = next((name for name in (field["name"], *field.get("aliases", ())) if name in known), None)
        values.append(f'"{field["name"]}": {"..." if former is None else f"fields[{former!r}]"}'.replace("'", '"'))
    return (
        f"def {function}(fields: Fields) -> Iterable[Upcasted]:\n"
        f'    yield Upcasted("{new["name"]}", {version}, {{{", ".join(values)}}})\n\n'
        f'UPCASTERS = {{"{type}": (Upcaster("{old.name}", {old.version}, {function}),)}}'
    )


def _fields(record: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The fields of a record and of those in it, by their paths, as `lines[].sku`."""
    for field in record["fields"]:
        name = f"{path}{field['name']}"
        yield name, field
        yield from _within(field["type"], name)


def _within(kind: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(kind, list):
        for branch in kind:
            yield from _within(branch, path)
    elif isinstance(kind, dict):
        match kind["type"]:
            case "record":
                yield from _fields(kind, f"{path}.")
            case "array":
                yield from _within(kind["items"], f"{path}[]")
            case "map":
                yield from _within(kind["values"], f"{path}{{}}")


def _told(kind: Any) -> str:
    """A type in few words; of a record its name, since its fields are told by themselves."""
    if isinstance(kind, list):
        return " or ".join(sorted(map(_told, kind)))
    if isinstance(kind, str):
        return kind
    match kind.get("logicalType") or kind["type"]:
        case "decimal":
            return f"a decimal of {kind['precision']} digits, {kind.get('scale', 0)} of them decimals"
        case "enum":
            return f"one of {', '.join(kind['symbols'])}"
        case "array":
            return f"a list of {_told(kind['items'])}"
        case "map":
            return f"a map of {_told(kind['values'])}"
        case "record":
            return str(kind["name"])
        case other:
            return str(other)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
