"""What a dataclass is in Avro: a record, whose fields have the types of the class.

| Python | Avro |
|---|---|
| `bool`, `int`, `str`, `bytes` | boolean, long, string, bytes |
| `float` | double, said to be approximate |
| `Decimal` | decimal of 18 digits, 4 of them behind the point, or those of `Annotated[Decimal, Digits(..)]` |
| `datetime`, `date`, `time`, `UUID` | timestamp-millis, date, time-millis, uuid |
| `Literal["a", "b"]`, `Enum` of texts | enum |
| `list[T]`, `tuple[T, ...]`, `set[T]` and the like | array |
| `dict[str, T]`, `Mapping[str, T]` | map |
| a dataclass | record, defined where it is first used |
| `T | None` | union with null, null by default |
| `A | B` of what JSON tells apart | union |
| `Personal[str]` | bytes, which are sealed, with the mark of the aggregate itself as the person |
"""

from __future__ import annotations

import re
import sys
from collections import abc
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from aggregates.digits import Digits
from aggregates.personal import PersonalForm
from schemas.drafting import words
from schemas.registry import SchemaError
from schemas.sealing import ITSELF, PERSONAL

_PLAIN: dict[Any, str] = {bool: "boolean", int: "long", float: "double", str: "string", bytes: "bytes"}
_LOGICAL: dict[Any, dict[str, Any]] = {
    datetime: {"type": "long", "logicalType": "timestamp-millis"},
    date: {"type": "int", "logicalType": "date"},
    time: {"type": "int", "logicalType": "time-millis"},
    UUID: {"type": "string", "logicalType": "uuid"},
}
_LISTS = (list, set, frozenset, abc.Sequence, abc.Set, abc.Collection, abc.Iterable)
_MAPS = (dict, abc.Mapping)
_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class Default:
    """The default of a field in its class, and which field that is."""

    value: Any
    where: str


def record_of(class_: type, namespace: str) -> dict[str, Any]:
    """The schema of a dataclass, in the order of its fields. What the class leaves open is open: a doc is empty where
    nothing is said, and a decimal without `Digits` has no precision.

    Raises `SchemaError` for a field that Avro, or the engine, cannot keep.
    """
    return _Drafter().record(class_, namespace)


class _Drafter:
    """The types of one file: each named type is defined where it is first met, and named from there on."""

    def __init__(self) -> None:
        self._classes: dict[str, Any] = {}
        """By name what a named type was made of."""
        self._named: dict[str, Any] = {}

    def record(self, class_: type, namespace: str = "") -> dict[str, Any]:
        name = class_.__name__
        self._claim(name, class_)
        schema: dict[str, Any] = {"type": "record", "name": name}
        if namespace:
            schema["namespace"] = namespace
        schema["doc"] = words.of_class(class_)
        self._named[name] = None  # it is not finished: nobody may hold it
        try:
            hints = get_type_hints(class_, include_extras=True)
        except NameError as error:
            raise SchemaError(f"{name}: {error}: the types of its fields have to be there when it is used") from None
        said = words.of_fields(class_)
        schema["fields"] = [
            self._field(class_, field, hints[field.name], said.get(field.name, "")) for field in fields(class_)
        ]
        self._named[name] = schema
        return schema

    def _field(self, class_: type, field: Field[Any], hint: Any, said: str) -> dict[str, Any]:
        kind = self._type(hint, class_, field.name)
        made: dict[str, Any] = {"name": field.name, "type": kind}
        has_default, default = _default(field)
        if has_default:
            made["default"] = Default(default, f"{class_.__name__}.{field.name}")
        elif isinstance(kind, list) and "null" in kind:
            made["default"] = Default(None, "")
        if _holds_a_float(kind):
            made["approximate"] = True
        made["doc"] = said or _description(hint)
        if any(get_origin(it) is PersonalForm for it in (hint, *get_args(hint))):
            made[PERSONAL] = {"subject": ITSELF}
        return made

    def _type(self, hint: Any, class_: type, field: str) -> Any:
        """What a type is in Avro. `class_` and `field` are where it stands."""
        where = f"{class_.__name__}.{field}"
        name = ""
        while True:  # type Kind = .., NewType
            if isinstance(hint, NewType):
                hint = hint.__supertype__
            elif hasattr(hint, "__value__"):
                name, hint = hint.__name__, hint.__value__
            else:
                break
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            if get_args(hint)[0] is Decimal:
                return _decimal(next((it for it in hint.__metadata__ if isinstance(it, Digits)), None))
            return self._type(args[0], class_, field)
        if hint is Decimal:
            return _decimal(None)
        if hint in _LOGICAL:
            return dict(_LOGICAL[hint])
        if hint in _PLAIN:
            return _PLAIN[hint]
        if hint is NoneType or hint is None:
            return "null"
        if origin is Literal:
            return self._literal(args, name or _alias_of(hint, class_), class_, field)
        if origin in (Union, UnionType):
            return self._union(args, where, class_, field)
        if origin is PersonalForm:
            return "bytes"
        if origin is tuple:
            if len(args) == 2 and args[1] is Ellipsis:
                return {"type": "array", "items": self._type(args[0], class_, field)}
            raise SchemaError(f"{where}: Avro has no tuple of {len(args)}: write tuple[.., ...], or a dataclass")
        if origin in _LISTS and args:
            return {"type": "array", "items": self._type(args[0], class_, field)}
        if origin in _MAPS and args:
            if args[0] is not str:
                raise SchemaError(f"{where}: the keys of a map are text in Avro and in JSON: write dict[str, ..]")
            return {"type": "map", "values": self._type(args[1], class_, field)}
        if isinstance(hint, type) and issubclass(hint, Enum):
            values = [member.value for member in hint]
            return self._enum(hint.__name__, values, hint, words.of_class(hint), where)
        if isinstance(hint, type) and is_dataclass(hint):
            return self._nested(hint, where)
        shown = getattr(hint, "__name__", str(hint)) if not args else str(hint)
        raise SchemaError(f"{where}: {shown} has no type in Avro: {_INSTEAD}")

    def _union(self, args: tuple[Any, ...], where: str, class_: type, field: str) -> list[Any]:
        branches: list[Any] = []
        for arg in args:
            made = self._type(arg, class_, field)
            branches += made if isinstance(made, list) else [made]
        branches.sort(key=lambda branch: branch != "null")  # null is first, the others as they are written
        records = [branch for branch in branches if not isinstance(branch, str) and branch["type"] == "record"]
        if len(records) > 1:
            names = " | ".join(record["name"] for record in records)
            raise SchemaError(f"{where}: JSON does not tell {names} apart: let one class have the fields of both")
        return branches

    def _literal(self, args: tuple[Any, ...], name: str, class_: type, field: str) -> Any:
        symbols = [arg for arg in args if arg is not None]
        name = name or f"{class_.__name__}{''.join(part.capitalize() for part in field.split('_'))}"
        made = self._enum(name, symbols, tuple(symbols), words.of_name(class_, name), f"{class_.__name__}.{field}")
        return ["null", made] if None in args else made

    def _enum(self, name: str, symbols: list[Any], made_of: Any, doc: str, where: str) -> Any:
        for symbol in symbols:
            if not isinstance(symbol, str) or _SYMBOL.fullmatch(symbol) is None:
                raise SchemaError(f"{where}: an enum of Avro has names, of letters, digits and _: {symbol!r} is none")
        if not self._claim(name, made_of):
            return name
        schema = {"type": "enum", "name": name, **({"doc": doc} if doc else {}), "symbols": symbols}
        self._named[name] = schema
        return schema

    def _nested(self, class_: type, where: str) -> Any:
        name = class_.__name__
        if self._claims(name, class_):
            if self._named[name] is None:
                raise SchemaError(f"{where}: {name} holds itself: let it hold ids, or a list of all parts")
            return name
        return self.record(class_)

    def _claims(self, name: str, made_of: Any) -> bool:
        """Whether a name is known in this file, as the same thing. Raises `SchemaError` when as another."""
        if name not in self._classes:
            return False
        if self._classes[name] != made_of:
            raise SchemaError(f"two types are named {name}: a schema knows types by their name, so give one another")
        return True

    def _claim(self, name: str, made_of: Any) -> bool:
        """Take a name; whether it was free."""
        known = self._claims(name, made_of)
        self._classes[name] = made_of
        return not known


_INSTEAD = (
    "there are bool, int, str, bytes, Decimal, datetime, date, time, UUID, Literal, Enum, lists, dicts, dataclasses"
)


def _default(field: Field[Any]) -> tuple[bool, Any]:
    if field.default is not MISSING:
        return True, field.default
    if field.default_factory is not MISSING:
        return True, field.default_factory()
    return False, None


def _decimal(digits: Digits | None) -> dict[str, Any]:
    said = {} if digits is None else {"precision": digits.precision, "scale": digits.scale}
    return {"type": "bytes", "logicalType": "decimal"} | said


def _description(hint: Any) -> str:
    """What `Annotated[.., msgspec.Meta(description=..)]` says."""
    if get_origin(hint) is not Annotated:
        return ""
    return next((it.description for it in hint.__metadata__ if isinstance(it, msgspec.Meta) and it.description), "")


def _alias_of(hint: Any, class_: type) -> str:
    """The name that a module gives to a type, as in `Kind = Literal[..]`: the module of the class, or of its base that
    has the field."""
    for base in class_.__mro__:
        for name, value in vars(sys.modules.get(base.__module__, object)).items():
            if get_origin(value) is Literal and get_args(value) == get_args(hint):
                return name.lstrip("_")
    return ""


def _holds_a_float(kind: Any) -> bool:
    if isinstance(kind, list):
        return any(map(_holds_a_float, kind))
    if isinstance(kind, dict):
        parts = () if kind["type"] == "record" else ("type", "items", "values")
        return any(_holds_a_float(kind.get(part)) for part in parts)
    return bool(kind == "double")
