"""Values as their schema keeps them: what a reader gets back, before anything is written.

A schema keeps less than a class can hold: milliseconds, a scale, 32 bits. What is cut off, or cannot be kept at all,
has to be known before it is written: the state that a worker has in memory is the one that it will read back. So fields
are brought into the form that reading gives, and what would come back as another value is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

from schemas.registry import Schema
from schemas.upcasting import Fields

Fit = Callable[[Any], Any]

_INT, _LONG = 2**31, 2**63
_MOST_SHOWN = 60


class Unfit(ValueError):
    """A value that its schema cannot keep; the message says which, why, and what would do."""

    def under(self, name: str) -> Unfit:
        """The same of a field that holds the value."""
        text = str(self)
        return Unfit(f"{name}{text}" if text.startswith((".", "[")) else f"{name}: {text}")


class Fitted(NamedTuple):
    """How the fields of a record are brought into the form that reading gives.

    fit     does so, in place; raises `Unfit`. What it does not look at, the writer and the class refuse.
    exact   whether that is the form to the letter; False for a union whose branch only the writer chooses
    changes the fields that it looks at
    """

    fit: Callable[[Fields], Fields]
    exact: bool
    changes: tuple[str, ...]


def fitted(schema: Schema) -> Fitted:
    """How values of a schema are kept. Made once for a schema."""
    compiler = _Compiler()
    fit = compiler.of(schema.parsed)
    return Fitted(fit or (lambda fields: fields), compiler.exact, tuple(compiler.changes))


class _Compiler:
    def __init__(self) -> None:
        self.exact = True
        self.changes: list[str] = []
        self._named: dict[str, Fit | None] = {}

    def of(self, schema: Any) -> Fit | None:
        """What a value has to go through; None where it is kept as it is."""
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            return self._reference(schema) if schema in self._named else _PLAIN.get(schema)
        if schema["type"] == "record":
            return self._record(schema)
        fit = self._kind(schema)
        if "name" in schema:
            self._named[schema["name"]] = fit
        return fit

    def _kind(self, schema: Any) -> Fit | None:
        logical = schema.get("logicalType")
        if logical == "decimal":
            return _decimal(schema["precision"], schema.get("scale", 0))
        if logical in _LOGICAL:
            return _LOGICAL[logical]
        match schema["type"]:
            case "enum":
                return _symbol(frozenset(schema["symbols"]))
            case "fixed":
                return _fixed(schema["size"])
            case "array":
                return _each(self.of(schema["items"]))
            case "map":
                return _values(self.of(schema["values"]))
            case other:
                return self.of(other)

    def _reference(self, name: str) -> Fit:
        # Of a record within itself there is nothing yet but its name.
        return lambda value: value if (fit := self._named[name]) is None else fit(value)

    def _record(self, schema: Any) -> Fit | None:
        self._named[schema["name"]] = None
        parts = [(field["name"], self.of(field["type"])) for field in schema["fields"]]
        fits = [(name, fit) for name, fit in parts if fit is not None]
        self.changes = [name for name, _ in fits]  # of the record itself in the end, which is done last
        if not fits:
            return None

        def record(fields: Fields) -> Fields:
            name = ""
            try:
                for name, fit in fits:
                    fields[name] = fit(fields[name])
            except Unfit as why:
                raise why.under(f".{name}") from None
            return fields

        self._named[schema["name"]] = record
        return record

    def _union(self, branches: list[Any]) -> Fit | None:
        others = [branch for branch in branches if branch != "null"]
        optional = len(others) < len(branches)
        if len(others) == 1:
            fit = self.of(others[0])
            if fit is None or not optional:
                return fit
            return lambda value: None if value is None else fit(value)
        # Which branch a value is written as is the writer's choice: what it makes of it is known by reading it.
        self.exact = False
        choices = [(_types(branch), self.of(branch)) for branch in others]

        def union(value: Any) -> Any:
            if value is None and optional:
                return None
            why = Unfit(f"is {_a(value)}, and its schema has no such branch")
            for types, fit in choices:
                if types is None or type(value) in types:
                    try:
                        return value if fit is None else fit(value)
                    except Unfit as unfit:
                        why = unfit
                    except (TypeError, KeyError):  # another record's fields
                        continue
            raise why

        return union


def _types(branch: Any) -> tuple[type, ...] | None:
    """The types of the values that may be of a branch; None where any may be."""
    if isinstance(branch, dict):
        logical = branch.get("logicalType", "")
        if logical == "decimal":
            return (Decimal,)
        if logical in ("timestamp-millis", "timestamp-micros"):
            return (datetime,)
        if logical in _LOGICAL:
            return None
        branch = branch["type"]
    return {
        "boolean": (bool,), "int": (int,), "long": (int,), "float": (float, int), "double": (float, int),
        "string": (str,), "bytes": (bytes,), "fixed": (bytes,), "enum": (str,), "array": (list, tuple), "map": (dict,),
        "record": (dict,),
    }.get(branch)  # fmt: skip


def _a(value: Any) -> str:
    shown = repr(value)
    return f"a {type(value).__name__}, {shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + '..'}"


def _boolean(value: Any) -> Any:
    if value is not True and value is not False:
        raise Unfit(f"is {_a(value)}, neither true nor false")
    return value


def _whole(limit: int, name: str, advice: str) -> Fit:
    def whole(value: Any) -> Any:
        if type(value) is not int:
            raise Unfit(f"is {_a(value)}, not a whole number")
        if not -limit <= value < limit:
            raise Unfit(f"{_a(value)} is beyond an Avro {name}, {-limit} to {limit - 1}{advice}")
        return value

    return whole


def _double(value: Any) -> Any:
    if type(value) is not float:
        if type(value) is not int:
            raise Unfit(f"is {_a(value)}, not a number")
        try:
            value = float(value)
        except OverflowError:
            raise Unfit("is beyond a double") from None
    if not isfinite(value):
        raise Unfit(f"is {value}, which JSON cannot say: keep it out, or let the field be null")
    return value


def _float(value: Any) -> float:
    try:
        kept: float = struct.unpack("<f", struct.pack("<f", _double(value)))[0]
    except OverflowError:
        raise Unfit(f"{value} is beyond an Avro float: make it a double") from None
    return kept


def _decimal(precision: int, scale: int) -> Fit:
    one, context, zero = Decimal(1).scaleb(-scale), Context(prec=max(precision, 1)), Decimal(0).scaleb(-scale)
    whole = precision - scale

    def decimal(value: Any) -> Decimal:
        if type(value) is not Decimal:
            raise Unfit(f"is {_a(value)}, not a Decimal")
        if value and value.same_quantum(one) and value.adjusted() < whole:
            return value
        if not value.is_finite():
            raise Unfit(f"is {value}, not a number")
        if not value:
            return zero  # 0E-30 and -0 too
        try:
            kept = value.quantize(one, context=context)
        except InvalidOperation:
            what = f"{_a(value)} has more digits than its schema keeps: {precision} in all, {scale} of them decimals"
            raise Unfit(what) from None
        if kept != value:
            raise Unfit(f"{_a(value)} has more than the {scale} decimals that its schema keeps")
        return kept

    return decimal


def _aware(value: Any) -> Any:
    if not isinstance(value, datetime):
        raise Unfit(f"is {_a(value)}, not a datetime")
    if value.tzinfo is not UTC:
        if value.utcoffset() is None:
            raise Unfit(f"{value.isoformat()} has no time zone: write Z for UTC")
        try:
            value = value.astimezone(UTC)
        except OverflowError:
            raise Unfit(f"{value.isoformat()} is beyond the calendar in UTC") from None
    return value.replace(fold=0) if value.fold else value


def _millis(value: Any) -> Any:
    value = _aware(value)
    cut = value.microsecond % 1000
    return value.replace(microsecond=value.microsecond - cut) if cut else value


def _date(value: Any) -> date:
    return _parsed(value, date)  # type: ignore[no-any-return]


def _time_millis(value: Any) -> Any:
    value = _time(value)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _time(value: Any) -> time:
    value = _parsed(value, time)
    if value.tzinfo is not None:
        raise Unfit(f"{value.isoformat()} has a time zone, which a time of day has not")
    return value  # type: ignore[no-any-return]


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise Unfit(f"is {_a(value)}, not a UUID") from None


def _parsed(value: Any, class_: Any) -> Any:
    if type(value) is class_:
        return value
    try:
        return class_.fromisoformat(value)
    except (ValueError, TypeError):
        raise Unfit(f"is {_a(value)}, not a {class_.__name__}") from None


def _symbol(symbols: frozenset[str]) -> Fit:
    def symbol(value: Any) -> Any:
        if value not in symbols:
            raise Unfit(f"is {_a(value)}, which is none of {', '.join(sorted(symbols))}")
        return value

    return symbol


def _fixed(size: int) -> Fit:
    def fixed(value: Any) -> Any:
        if type(value) is not bytes or len(value) != size:
            raise Unfit(f"is {_a(value)}, not {size} bytes")
        return value

    return fixed


def _each(fit: Fit | None) -> Fit | None:
    if fit is None:
        return None

    def array(value: Any) -> list[Any]:
        if type(value) not in (list, tuple):
            raise Unfit(f"is {_a(value)}, not a list")
        try:
            return [fit(item) for item in value]
        except Unfit:
            for at, item in enumerate(value):
                try:
                    fit(item)
                except Unfit as why:
                    raise why.under(f"[{at}]") from None
            raise

    return array


def _values(fit: Fit | None) -> Fit | None:
    if fit is None:
        return None

    def values(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Unfit(f"is {_a(value)}, not a map")
        key = None
        try:
            kept = {}
            for key, item in value.items():
                kept[key] = fit(item)
        except Unfit as why:
            raise why.under(f"[{key!r}]") from None
        return kept

    return values


_PLAIN: dict[str, Fit] = {
    "boolean": _boolean,
    "int": _whole(_INT, "int", ": make it a long"),
    "long": _whole(_LONG, "long", ""),
    "float": _float,
    "double": _double,
}
_LOGICAL: dict[str, Fit] = {
    "timestamp-millis": _millis,
    "timestamp-micros": _aware,
    "date": _date,
    "time-millis": _time_millis,
    "time-micros": _time,
    "uuid": _uuid,
}
