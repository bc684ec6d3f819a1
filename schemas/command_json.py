"""Reads the JSON of commands as objects of their classes, as other languages would read the same text.

It is stricter than Python and msgspec: a time without a zone would be another moment at each worker, and Python reads
`2_5` and `٢٥` as numbers, which no other language does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import inspect

_NUMBER = re.compile(
    r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|[+-]?(s?nan\d*|inf(inity)?)", re.ASCII | re.IGNORECASE
)
_OF_NUMBERS = frozenset(b'0123456789.+-"')
_BACKSLASH, _UNDERSCORE = b"\\_"  # as numbers, which are found sooner

Check = Callable[[Any, str], None]
"""Checks or completes a value at a path. Raises `msgspec.ValidationError`."""
_Own = Callable[[Any], Check | None]
"""The check of a type itself, without its parts; None when it needs none."""


def json_reader(class_: type) -> Callable[[bytes], Any]:
    """Reads JSON as an object of a class. Raises `msgspec.DecodeError`, and `UnicodeDecodeError`."""
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(class_).decode
    form = inspect.type_info(class_)
    checks = [check for own in (_defaults, _time) if (check := _check(form, own, getattr, {})) is not None]
    numbers = _check(form, _number, _key, {})
    # Those of the fields that are always there; mostly there are no others.
    in_names = sum(field.encode_name.count("_") for field in _fields(form) if field.required)

    def read(data: bytes) -> Any:
        value = decode(data)
        for check in checks:
            check(value, "$")
        if numbers is not None and (
            not data.isascii()
            or _BACKSLASH in data
            or (data.count(_UNDERSCORE) != in_names and _has_underscored_number(data))
        ):
            numbers(msgspec.json.decode(data), "$")
        return value

    return read


def _has_underscored_number(data: bytes) -> bool:
    """Whether the data may have a number with an underscore. Texts that look like one count, too."""
    at = data.find(b"_")
    while at >= 0:
        if data[at - 1] in _OF_NUMBERS or data[at + 1] in _OF_NUMBERS:
            return True
        at = data.find(b"_", at + 1)
    return False


def _fields(form: Any) -> tuple[inspect.Field, ...]:
    return form.fields if isinstance(form, inspect.DataclassType | inspect.StructType) else ()


def time_check(class_: type) -> Check | None:
    """What refuses an object of a class for a time without a zone; None where it has no times."""
    return _check(inspect.type_info(class_), _time, getattr, {})


def variants_in(class_: type) -> list[str]:
    """The fields of a class of which one value may be written in several ways: they hold decimals, times, or records,
    which may leave out what has a default."""
    return [
        field.name
        for field in _fields(inspect.type_info(class_))
        if any(_check(field.type, own, getattr, {}) is not None for own in (_number, _time, _part))
    ]


def _time(form: Any) -> Check | None:
    def check(value: Any, path: str) -> None:
        if isinstance(value, datetime) and value.utcoffset() is None:
            raise msgspec.ValidationError(f"{value.isoformat()} has no time zone: write Z for UTC - at `{path}`")

    return check if isinstance(form, inspect.DateTimeType) else None


def _number(form: Any) -> Check | None:
    def check(value: Any, path: str) -> None:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            raise msgspec.ValidationError(f"{value!r} is no decimal number: use the digits 0 to 9 - at `{path}`")

    return check if isinstance(form, inspect.DecimalType) else None


def _part(form: Any) -> Check | None:
    return (lambda value, path: None) if isinstance(form, inspect.DataclassType | inspect.StructType) else None


def _defaults(form: Any) -> Check | None:
    """msgspec leaves what was left out to the class, and then writes an object of a class without slots without it."""
    if not isinstance(form, inspect.DataclassType) or not form.cls.__dictoffset__:
        return None
    defaults = {field.name: field.default for field in form.fields if field.default is not msgspec.NODEFAULT}

    def complete(value: Any, path: str) -> None:
        if isinstance(value, form.cls):
            for name, default in defaults.items():
                value.__dict__.setdefault(name, default)

    return complete if defaults else None


def _key(value: Any, name: str, default: Any) -> Any:
    return value.get(name, default) if isinstance(value, dict) else default


def _check(form: Any, own: _Own, get: Callable[..., Any], seen: dict[type, list[Any]]) -> Check | None:
    """What a value of this form, and all in it, have to go through; `get` takes a field out of a record."""
    within = partial(_check, own=own, get=get, seen=seen)
    if isinstance(form, inspect.DataclassType | inspect.StructType):
        if form.cls in seen:  # within itself: what its fields need is known when it is used
            return partial(_record, seen[form.cls], get)
        seen[form.cls] = fields = [("", itself)] if (itself := own(form)) is not None else []
        for field in form.fields:
            if (check_of_field := within(field.type)) is not None:
                fields.append((field.name if get is getattr else field.encode_name, check_of_field))
        return partial(_record, fields, get) if fields else None
    if (check := own(form)) is not None:
        return check
    if isinstance(form, inspect.UnionType):
        checks = [inner for part in form.types if (inner := within(part)) is not None]
        return partial(_all, checks) if checks else None
    if isinstance(form, inspect.DictType):
        values = within(form.value_type)
        return partial(_values, values) if values is not None else None
    items = [*getattr(form, "item_types", ())] or [getattr(form, "item_type", None)]
    checks = [inner for part in items if part is not None and (inner := within(part)) is not None]
    return partial(_items, partial(_all, checks)) if checks else None


def _all(checks: list[Check], value: Any, path: str) -> None:
    for check in checks:
        check(value, path)


def _record(fields: list[tuple[str, Check]], get: Callable[..., Any], value: Any, path: str) -> None:
    """Each field has its check; the record itself has no name."""
    if value is not None:
        for name, check in fields:
            if name:
                check(get(value, name, None), f"{path}.{name}")
            else:
                check(value, path)


def _values(check: Check, value: Any, path: str) -> None:
    if isinstance(value, dict):
        for item in value.values():
            check(item, f"{path}[...]")


def _items(check: Check, value: Any, path: str) -> None:
    if isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            check(item, f"{path}[{index}]")
