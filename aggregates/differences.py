"""Where two values differ, for people: the fields by name, not two long lines to be compared by eye."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

MOST = 20
"""Differences that are said; more help nobody."""


def require_same(expected: object, actual: object, what: str = "") -> None:
    """Raise `AssertionError` with all differences where two values are not equal."""
    __tracebackhide__ = True  # pytest shows the line of the test
    if expected == actual:
        return
    found = list(_differences("", expected, actual))
    more = [f"  .. and {len(found) - MOST} more"] if len(found) > MOST else []
    head = f"{what}: " if what else ""
    lines = [f"{head}expected {expected!r}, but it is {actual!r}", *(f"  {line}" for line in found[:MOST]), *more]
    # One whole value against another is what the first line says already.
    raise AssertionError("\n".join(lines if found and not found[0].startswith(":") else lines[:1]))


def _differences(where: str, expected: Any, actual: Any) -> Iterator[str]:
    if expected == actual:
        return
    if isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
        for index in range(max(len(expected), len(actual))):
            if index >= len(actual):
                yield f"{where}[{index}]: missing: {expected[index]!r}"
            elif index >= len(expected):
                yield f"{where}[{index}]: not expected: {actual[index]!r}"
            else:
                yield from _differences(f"{where}[{index}]", expected[index], actual[index])
    elif isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key in [*expected, *(key for key in actual if key not in expected)]:
            if key not in actual:
                yield f"{where}[{key!r}]: missing: {expected[key]!r}"
            elif key not in expected:
                yield f"{where}[{key!r}]: not expected: {actual[key]!r}"
            else:
                yield from _differences(f"{where}[{key!r}]", expected[key], actual[key])
    elif type(expected) is type(actual) and is_dataclass(expected):
        for field in fields(expected):
            name = field.name
            yield from _differences(f"{where}.{name}", getattr(expected, name), getattr(actual, name))
    else:
        yield f"{where}: expected {expected!r}, but it is {actual!r}"
