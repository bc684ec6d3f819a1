"""Rows by any of their columns over HTTP: selected, within ranges, sorted, page by page.

GET /sales?customer=17850&total__gte=10&sort=-total&limit=20
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from projections.app import ReadSide
from projections.http.forwarding import VARY, Tables
from projections.http.pages import Paging
from projections.http.parameters import read_query
from projections.http.problems import BadRequest, NotNow
from projections.projection import Projection
from projections.stores.declaration import version_of
from projections.stores.local.sqlite import SqliteStore
from projections.stores.rows import decode_row, shown_json
from projections.stores.sql_columns import quoted, storable
from projections.stores.typed_columns import TypedColumn, typed_columns
from streams.access.principal import Role
from streams.concurrency.fairness import yield_if_due
from streams.web.operation import describe

COMPARED = {"": "=", "__gt": ">", "__gte": ">=", "__lt": "<", "__lte": "<="}
"""What follows the name of a column in a parameter, and how the column is compared."""
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""One that SQLite takes as it is: as a double it would be another one, behind 2**53."""
_TYPES: dict[str, Any] = {"text": str, "number": Number | float, "truth": bool, "decimal": Decimal, "time": datetime}

Found = dict[str, Any]
"""A row of a part: `by` is what it is sorted by, beside its `key`."""


class Question:
    """A query, read: the end of the SELECT that each partition answers, and how the parts are put together."""

    def __init__(self, columns: dict[str, TypedColumn], asked: Any) -> None:
        self.limit: int = asked.limit
        sort = "" if asked.sort is msgspec.UNSET else str(asked.sort)
        self.descending = sort.startswith("-")
        name = sort.removeprefix("-")
        self._by = quoted(name) if name else "key"
        compared = _comparisons(columns, asked)
        self._conditions = [f"{quoted(column.name)} {sign} ?" for column, sign, _ in compared]
        self._values = [value for _, _, value in compared]
        named = [*(column for column, _, _ in compared), *([columns[name]] if name else [])]
        self._required = list(dict.fromkeys(column.name for column in named if not column.optional))
        if asked.after:
            behind = "<" if self.descending else ">"
            by, key = _read_cursor(asked.after)
            self._conditions.append(f"({self._by}, key) {behind} (?, ?)")
            self._values += [by, key]

    def here(self, store: SqliteStore, partition: int, table: str, version: int) -> list[Found]:
        """A partition's part of the page: one row more than it holds. `version` is that of the columns. Raises
        `TableError`, and `NotNow` where an older table answers, and has rows without what is asked for."""
        if version_of(table) != version:
            self._check(store, partition, table)
        where = f"WHERE {' AND '.join(self._conditions)} " if self._conditions else ""
        order = " DESC" if self.descending else ""
        end = f"{where}ORDER BY {self._by}{order}, key{order} LIMIT ?"
        sql = f"SELECT key, {self._by} FROM {{table}} {end}"
        found = store.select(partition, table, sql, (*self._values, self.limit + 1))
        rows = store.get_many(partition, table, [key for key, _ in found])
        return [{"key": key, "by": by, "row": decode_row(shown_json(rows[key]))} for key, by in found]

    def _check(self, store: SqliteStore, partition: int, table: str) -> None:
        for name in self._required:
            if store.select(partition, table, f"SELECT 1 FROM {{table}} WHERE {quoted(name)} IS NULL LIMIT 1"):
                text = f"{table} answers, whose rows have no {name}, and a newer table is being built"
                raise NotNow(f"{text}: /projections says how far it is")

    def page(self, parts: Iterable[Sequence[Found]]) -> dict[str, Any]:
        """The page of all parts; `next` is the cursor to go on from, None at the end."""
        found = sorted(
            (row for part in parts for row in part), key=lambda it: (it["by"], it["key"]), reverse=self.descending
        )
        shown = found[: self.limit]
        more = len(found) > self.limit
        return {"rows": [it["row"] for it in shown], "next": _cursor(shown[-1]) if more else None}


def query_of(columns: dict[str, TypedColumn]) -> Any:
    """The parameters by which rows with these columns are asked for."""
    fields: list[tuple[str, Any, Any]] = []
    for column in columns.values():
        type_ = _TYPES[column.kind] | msgspec.UnsetType
        for ending in COMPARED if column.kind != "truth" else [""]:
            fields.append((f"{column.name}{ending}", type_, msgspec.UNSET))
    sorts = [name for name, column in columns.items() if not column.optional]  # a row without a value has no place
    if sorts:
        sort: Any = Literal[(*sorts, *(f"-{name}" for name in sorts))]
        fields.append(("sort", sort | msgspec.UnsetType, msgspec.UNSET))
    else:
        fields.append(("sort", msgspec.UnsetType, msgspec.UNSET))
    return msgspec.defstruct("Query", fields, bases=(Paging,))


def add_asked_rows(side: ReadSide, projection: Projection, path: str = "") -> None:
    """Serve `/<projection>`, or another path: the rows of a projection with a declared type that is kept by
    `Table(projection, columns_of(..))`. Raises `ValueError` for any other one."""
    if projection.row is None or projection.local:
        raise ValueError(f"{projection.name}: rows are asked by their columns where they have a type and are not local")
    local = side.sql.get(projection.source)
    if local is None:
        raise ValueError(f"{projection.name}: rows are asked by their columns where SQLite keeps them: columns_of(..)")
    columns = typed_columns(projection.row)
    query = query_of(columns)

    @side.app.page(path or f"/{projection.name}", name=f"{projection.name}-asked")
    @describe(
        projection.name,
        f"Rows of {projection.name} by their columns: equal, or in a range (`__gt`, `__gte`, `__lt`, `__lte`), sorted",
        dict[str, Any],
        query=query,
        reads=True,
        role=Role.READER,
        of=(projection.source,),
    )
    async def rows(view: Any, request: Any) -> Any:
        question = read_question(request.query, columns, query)

        async def here(partitions: list[int], tables: Tables) -> list[Any]:
            found: list[Found] = []
            for partition in partitions:
                await yield_if_due()
                found += question.here(local.store, partition, tables[projection.name], projection.version)
            return found

        return await side.doors.gather(view, request, [projection.name], here, question.page, VARY)


def read_question(parameters: Any, columns: dict[str, TypedColumn], query: Any) -> Question:
    """The parameters of a request as a question. Raises `BadRequest`, also for a parameter that there is not: a filter
    that is written wrong is not to show everything."""
    known = [field.encode_name for field in msgspec.structs.fields(query)]
    if unknown := [name for name in parameters if name not in known]:
        raise BadRequest(f"{unknown[0]}: there is no such parameter; there are {', '.join(known)}")
    try:
        return Question(columns, read_query(parameters, query))
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _comparisons(columns: dict[str, TypedColumn], asked: Any) -> list[tuple[TypedColumn, str, str | float]]:
    """Each column that is asked for, how it is compared, and with what. Raises `ValueError`."""
    return [
        (column, sign, column.value(value))
        for column in columns.values()
        for ending, sign in COMPARED.items()
        if (value := getattr(asked, f"{column.name}{ending}", msgspec.UNSET)) is not msgspec.UNSET
    ]


def _cursor(row: Found) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((row["by"], row["key"]))).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[str | float, str]:
    """Raises `ValueError`."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        by, key = msgspec.json.decode(data, type=tuple[str | Number | float, str])
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise ValueError(f"after={text[:40]!r}: use the `next` of the page before") from None
    return storable(by) if isinstance(by, str) else by, storable(key)
