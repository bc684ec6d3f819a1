"""The public names of the four packages as a text, to be compared: `python -m tests.package.public_api > FILE`.

Public is what `__all__` of a package names, and of a class what has no underscore in front. Annotations are as they are
written, so that the text is the same under every version of Python.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

PACKAGES = ("aggregates", "schemas", "streams", "projections")
FILE = Path(__file__).with_name("public_api.txt")


def listing() -> str:
    """All public names, with what one needs to know to use them, sorted."""
    lines: list[str] = []
    for package in PACKAGES:
        module = import_module(package)
        for name in sorted(module.__all__):
            lines += _lines(f"{package}.{name}", getattr(module, name))
    return "\n".join(lines) + "\n"


def _lines(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        bases = [base.__name__ for base in value.__bases__ if issubclass(base, Exception)]
        yield f"class {name}{f'({bases[0]})' if bases else ''}"
        yield from (f"    {line}" for line in sorted(_members(value)))
    elif callable(value) and not isinstance(value, types.GenericAlias):
        yield f"def {name}{_signature(value)}"
    elif isinstance(value, types.GenericAlias) or type(value).__module__ == "builtins":
        yield f"{name} = {value!r}" if isinstance(value, types.GenericAlias) else name
    else:
        yield f"{name}: {type(value).__name__}"


def _members(class_: type) -> Iterator[str]:
    known = _fields(class_)
    yield from (f"{name}: {annotation}" for name, annotation in known.items())
    if not known and not _is_inherited(class_, "__init__"):
        yield f"__init__{_signature(class_.__init__)}"  # type: ignore[misc]
    for name, member in inspect.getmembers_static(class_):
        if name.startswith("_") or name in known or _is_inherited(class_, name):
            continue
        if isinstance(member, staticmethod | classmethod):
            yield f"{type(member).__name__} {name}{_signature(member.__func__)}"
        elif inspect.isfunction(member):
            yield f"{name}{_signature(member)}"
        elif not inspect.ismemberdescriptor(member):
            yield name


def _fields(class_: type) -> dict[str, str]:
    """The public fields by name, with their annotations and defaults."""
    found = {}
    if is_dataclass(class_):
        found = {field.name: str(field.type) for field in fields(class_)}
    elif issubclass(class_, msgspec.Struct):
        found = {field.name: _told(field.type) for field in msgspec.structs.fields(class_)}
    parameters = inspect.signature(class_).parameters if found else {}
    return {
        name: text + (" = .." if name in parameters and parameters[name].default is not inspect.Parameter.empty else "")
        for name, text in found.items()
        if not name.startswith("_")
    }


def _told(type_: Any) -> str:
    return type_.__name__ if isinstance(type_, type) else str(type_).replace("typing.", "")


def _is_inherited(class_: type, name: str) -> bool:
    """Whether a name is of a base that is not ours."""
    owner = next((base for base in class_.__mro__ if name in base.__dict__), class_)
    return owner.__module__.partition(".")[0] not in PACKAGES


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    shown = [
        parameter.replace(default=_Shown(parameter.default)) if parameter.default is not parameter.empty else parameter
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=shown)).replace("'", "")


class _Shown:
    """A default as it is told: simple ones as they are, of others only that there is one."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return repr(self._value) if isinstance(self._value, str | int | float | None | tuple) else ".."


if __name__ == "__main__":
    print(listing(), end="")
