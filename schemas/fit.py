"""Values as their schema keeps them: what a reader gets back, before anything is written.

A schema keeps less than a class can hold: milliseconds, a scale, 32 bits. What is cut off, or cannot be kept at all,
has to be known before an event is written: the state in a worker's memory must be the state that it will read back. So
fields are brought into the form that reading gives, and a value that would come back as another one is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from schemas.fit_values import LOGICAL, PLAIN, Fit, Unfit, a_value, decimal, fixed, symbol
from schemas.registry import Schema
from schemas.upcasting import Fields


class Fitted(NamedTuple):
    """The way in which the fields of a record are brought into the form that reading gives.

    fit     changes the fields in place; raises `Unfit`. Values that it does not look at are checked by the writer and
            the class.
    exact   whether the result is exactly the form of reading; False for a union whose branch the writer chooses
    """

    fit: Callable[[Fields], Fields]
    exact: bool


def fitted(schema: Schema) -> Fitted:
    """The way in which values of a schema are fitted. Made once for a schema."""
    compiler = _Compiler()
    fit = compiler.of(schema.parsed)
    return Fitted(fit or (lambda fields: fields), compiler.exact)


class _Compiler:
    def __init__(self) -> None:
        self.exact = True
        self._named: dict[str, Fit | None] = {}

    def of(self, schema: Any) -> Fit | None:
        """The function that fits a value of a schema; None where values stay as they are."""
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            return self._reference(schema) if schema in self._named else PLAIN.get(schema)
        if schema["type"] == "record":
            return self._record(schema)
        fit = self._kind(schema)
        if "name" in schema:
            self._named[schema["name"]] = fit
        return fit

    def _kind(self, schema: Any) -> Fit | None:
        logical = schema.get("logicalType")
        if logical == "decimal":
            return decimal(schema["precision"], schema.get("scale", 0))
        if logical in LOGICAL:
            return LOGICAL[logical]
        match schema["type"]:
            case "enum":
                return symbol(frozenset(schema["symbols"]))
            case "fixed":
                return fixed(schema["size"])
            case "array":
                return _each(self.of(schema["items"]))
            case "map":
                return _values(self.of(schema["values"]))
            case other:
                return self.of(other)

    def _reference(self, name: str) -> Fit:
        # A record within itself is known only by its name as yet.
        return lambda value: value if (fit := self._named[name]) is None else fit(value)

    def _record(self, schema: Any) -> Fit | None:
        self._named[schema["name"]] = None
        parts = [(field["name"], self.of(field["type"])) for field in schema["fields"]]
        fits = [(name, fit) for name, fit in parts if fit is not None]
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
        # The writer chooses the branch of a value: the result is known only by reading it.
        self.exact = False
        choices = [(_types(branch), self.of(branch)) for branch in others]

        def union(value: Any) -> Any:
            if value is None and optional:
                return None
            why = Unfit(f"is {a_value(value)}, and its schema has no such branch")
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
        if logical in LOGICAL:
            return None
        branch = branch["type"]
    return {
        "boolean": (bool,), "int": (int,), "long": (int,), "float": (float, int), "double": (float, int),
        "string": (str,), "bytes": (bytes,), "fixed": (bytes,), "enum": (str,), "array": (list, tuple), "map": (dict,),
        "record": (dict,),
    }.get(branch)  # fmt: skip


def _each(fit: Fit | None) -> Fit | None:
    if fit is None:
        return None

    def array(value: Any) -> list[Any]:
        if type(value) not in (list, tuple):
            raise Unfit(f"is {a_value(value)}, not a list")
        items: list[Any] = []
        try:
            for item in value:
                items.append(fit(item))
        except Unfit as why:
            raise why.under(f"[{len(items)}]") from None
        return items

    return array


def _values(fit: Fit | None) -> Fit | None:
    if fit is None:
        return None

    def values(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Unfit(f"is {a_value(value)}, not a map")
        key = None
        try:
            fitted_items = {}
            for key, item in value.items():
                fitted_items[key] = fit(item)
        except Unfit as why:
            raise why.under(f"[{key!r}]") from None
        return fitted_items

    return values
