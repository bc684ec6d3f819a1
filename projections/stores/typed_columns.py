"""The columns of typed rows: what rows may be selected and sorted by follows from the type that a projection declares.

| field | column |
|---|---|
| text, enum, literal, UUID, date | text, in the order of code points |
| int, float, bool | a number |
| Decimal | a number, as a double: rows and answers have it exactly |
| datetime | text in the order of time. Times of rows are in UTC, as those of events are |

Fields of other types, as lists, and those whose names SQL or the store has in use (`id`, `key`), have no column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import inspect

from projections.stores.sql_columns import OWN, SqlColumns, storable

Kind = Literal["text", "number", "truth", "decimal", "time"]

_KINDS: Mapping[type, Kind] = {
    inspect.StrType: "text",
    inspect.EnumType: "text",
    inspect.LiteralType: "text",
    inspect.UUIDType: "text",
    inspect.DateType: "text",
    inspect.IntType: "number",
    inspect.FloatType: "number",
    inspect.BoolType: "truth",
    inspect.DecimalType: "decimal",
    inspect.DateTimeType: "time",
}
_NOT_THESE = (*OWN, "rowid", "rank", "sort", "limit", "after")
"""Names that the store or a query has in use."""


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column: `optional` where a row may have no value in it."""

    name: str
    kind: Kind
    optional: bool

    @property
    def expression(self) -> str:
        """How SQLite computes it from a row."""
        value = f"json_extract(row, '$.{self.name}')"
        if self.kind == "decimal":
            return f"CAST({value} AS REAL)"
        # Without its Z a time stands before those of the same second that have a fraction.
        return f"rtrim({value}, 'Z')" if self.kind == "time" else value

    def value(self, asked: Any) -> str | float:
        """A value of a query as it is compared with the column. Raises `ValueError` for a time without a zone, or that
        is in no year in UTC."""
        match asked:
            case datetime():
                if asked.utcoffset() is None:
                    raise ValueError(f"{self.name}: {asked.isoformat()} has no time zone: write Z for UTC")
                try:
                    in_utc = asked.astimezone(UTC)
                except OverflowError as error:
                    raise ValueError(f"{self.name}: {asked.isoformat()}: {error}") from None
                return str(msgspec.to_builtins(in_utc)).rstrip("Z")
            case Decimal():
                return float(asked)
            case str():
                return storable(asked)
            case _:
                number: float = asked
                return number


def typed_columns(row: Any) -> dict[str, TypedColumn]:
    """The columns of a type of rows, by name. Raises `TypeError` for what is no such type."""
    form: Any = inspect.type_info(row)
    if not isinstance(form, inspect.DataclassType | inspect.StructType | inspect.TypedDictType):
        raise TypeError(f"{row!r} is no dataclass, TypedDict or Struct")
    # A dataclass is written whole; of the others what has its default may be left out.
    may_lack = isinstance(form, inspect.TypedDictType) or _leaves_out(form.cls)
    columns = {}
    for field in form.fields:
        name, parts = field.encode_name, [field.type]
        if isinstance(field.type, inspect.UnionType):
            parts = [part for part in field.type.types if not isinstance(part, inspect.NoneType)]
        optional = len(parts) < len(getattr(field.type, "types", parts)) or (may_lack and not field.required)
        kind = _kind(parts[0]) if len(parts) == 1 else None
        if kind is not None and name not in _NOT_THESE and name.isidentifier() and name.islower() and "__" not in name:
            columns[name] = TypedColumn(name, kind, optional)
    return columns


def columns_of(row: Any, indexes: Sequence[Sequence[str]] = (), search: Sequence[str] = ()) -> SqlColumns:
    """The columns of a table of such rows in SQLite, `Table(sales, columns_of(Sale, indexes=[("customer", "key")]))`.

    An index has the columns that are asked by a value, then the one that is sorted by, then `key`. Raises `ValueError`
    for one that is of no column.
    """
    return SqlColumns({name: it.expression for name, it in typed_columns(row).items()}, indexes, search)


def _leaves_out(class_: Any) -> bool:
    config = getattr(class_, "__struct_config__", None)
    return config is not None and bool(config.omit_defaults)


def _kind(form: Any) -> Kind | None:
    if isinstance(form, inspect.Metadata):
        return _kind(form.type)
    if isinstance(form, inspect.LiteralType) and not all(isinstance(value, str) for value in form.values):
        return None
    if isinstance(form, inspect.EnumType) and not all(isinstance(it.value, str) for it in form.cls):
        return None
    return _KINDS.get(type(form))
