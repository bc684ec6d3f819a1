"""The lock: the released versions, in `<schema root>/schemas.lock`, one line a version.

A fingerprint says how the bytes of a version are read, and leaves out what the parsing canonical form leaves out:
defaults, aliases, logical types, declarations. The digest covers these, and leaves out documentation and the marks of
personal fields, which stand behind it, so that what is taken away can be named. The shape of each aggregate's state is
locked with its `state_version`, since snapshots are kept as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_origin

import msgspec

from aggregates.decider import Decider
from schemas.registry import Schema, SchemaError
from schemas.release.shape import shape_of
from schemas.sealing import PERSONAL, mark_texts

FILE = "schemas.lock"


class LockedVersion(msgspec.Struct, array_like=True, frozen=True):
    """A released version: its fingerprint, the digest of all but its documentation and its marks, and these marks:
    `field=subject`."""

    fingerprint: str
    digest: str
    marks: tuple[str, ...] = ()

    def same_form(self, other: LockedVersion) -> bool:
        """Whether both are the same but for their marks."""
        return (self.fingerprint, self.digest) == (other.fingerprint, other.digest)


class LockedState(msgspec.Struct, array_like=True, frozen=True):
    """A released form of an aggregate's state."""

    version: int
    digest: str


class Lock(msgspec.Struct):
    """The released versions by `<type>/<Name>.v<N>.avsc`, and states by aggregate type."""

    versions: dict[str, LockedVersion] = {}
    states: dict[str, LockedState] = {}


def lock_key(type: str, schema: Schema) -> str:
    """The name of a version in the lock: its file."""
    return f"{type}/{schema.name}.v{schema.version}.avsc"


def locked_version(schema: Schema) -> LockedVersion:
    """The line of a version."""
    form = _without_docs(msgspec.json.decode(schema.json))
    return LockedVersion(schema.fingerprint, _digest(form), mark_texts(schema))


def locked_state(decider: Decider[Any, Any, Any]) -> LockedState:
    """The line of an aggregate's state. Raises `SchemaError` for one that no snapshot can hold."""
    types, initial = decider.state_types, type(decider.initial)
    names = " | ".join(getattr(type_, "__name__", str(type_)) for type_ in types)
    try:
        *shapes, _ = [shape_of(type) for type in (*types, initial)]
    except TypeError as error:
        why = " ".join(str(error).split())
        raise SchemaError(
            f"the state of {decider.type} is to be a dataclass that a snapshot can hold, or a union of such: {why}; "
            "within a state let one class say which it is, or use msgspec.Struct with a tag"
        ) from None
    known = initial in [get_origin(type_) or type_ for type_ in types]
    if not known and (len(types) > 1 or is_dataclass(initial) or is_dataclass(types[0])):
        raise SchemaError(
            f"evolve of {decider.type} takes a state of {names}, and the initial one is {decider.initial!r}: annotate "
            "it with all classes that a state may be, as in Empty | Opened"
        )
    return LockedState(decider.state_version, _digest(sorted(shapes, key=str)))


def read_lock(path: Path) -> Lock:
    """The lock of a schema root, empty when there is none yet. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(path.read_bytes(), type=Lock) if path.is_file() else Lock()


def write_lock(path: Path, lock: Lock) -> None:
    """Write the lock, sorted, one line a version."""
    text = ",\n".join(
        f'  "{name}": {{\n{_lines(entries.items())}\n  }}'
        for name, entries in (("versions", lock.versions), ("states", lock.states))
    )
    path.write_text(f"{{\n{text}\n}}\n")


def _lines(entries: Iterable[tuple[str, LockedVersion | LockedState]]) -> str:
    return ",\n".join(f"    {_json(key)}: {_json(entry)}" for key, entry in sorted(entries))


def _json(value: object) -> str:
    if isinstance(value, LockedVersion) and not value.marks:
        value = (value.fingerprint, value.digest)
    return msgspec.json.format(msgspec.json.encode(value), indent=-1).decode().replace(",", ", ")


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:32]


def _without_docs(value: Any) -> Any:
    if isinstance(value, dict):
        texts = ("doc", "description", "title")  # a field of that name is no text
        return {
            key: _without_docs(part)
            for key, part in value.items()
            if not (key in texts and isinstance(part, str)) and not (key == PERSONAL and isinstance(part, dict))
        }
    return [_without_docs(part) for part in value] if isinstance(value, list) else value
