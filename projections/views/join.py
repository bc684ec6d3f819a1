"""Joins: rows of two aggregate types that belong together, under one key.

The events of two types stand on two topics, and nobody says which of two such events came first: a row into which both
were folded would come out one way now and another way when it is made again. So each side keeps its own half, folded
from its own events in their order, and a query puts the halves together. What it shows follows from the events alone,
whatever is delivered twice, late, or built anew.

    customers = Join(
        "customers",
        Side(Table(users)),
        Side(Table(sales, columns_of(Sale, indexes=[("customer", "key")])), by="customer"),
        customer_with_sales,
    )
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from projections.projection import Projection, Row
from projections.stores.declaration import Indexes, ReadModelRows, Table
from projections.stores.typed_columns import typed_columns
from schemas.sealing import from_plain


@dataclass(frozen=True)
class Side:
    """One side of a join: the rows of an aggregate type, and the key under which they are joined.

    | projection | key | its half under a key |
    |---|---|---|
    | a row for each aggregate, without `by` | the id of the aggregate | one row, or none |
    | a row for each aggregate, with `by` | what stands in that field, an index or a column of the table | any number |
    | `local`: rows by keys of its events | such a key | a part for each partition that has events of it |

    Raises `ValueError`.
    """

    table: Table
    by: str = ""

    def __post_init__(self) -> None:
        name, how = self.table.name, self.table.how
        if isinstance(how, ReadModelRows):
            raise ValueError(f"{name}: a join is of tables in RocksDB or SQLite")
        if self.by and self.projection.local:
            raise ValueError(f"{name} is local: its rows stand under the keys of its events, and by no field")
        known = how.values if isinstance(how, Indexes) else how.columns
        if self.by and self.by not in known:
            raise ValueError(
                f"{name} is to be joined by {self.by}, which is no index or column of its table:"
                f' Table({name}, columns_of(.., indexes=[("{self.by}", "key")]))'
            )

        if self.by and not isinstance(how, Indexes) and self.projection.row is not None:
            column = typed_columns(self.projection.row).get(self.by)
            if column is not None and column.kind != "text":
                raise ValueError(f"{name} is to be joined by {self.by}, which is no text")

    @property
    def projection(self) -> Projection:
        """That of the table."""
        return self.table.projection


@dataclass(frozen=True)
class Join:
    """Two sides under one key.

    row(key, left, right)   what a query is answered, from the halves, which are rows as their projections have them,
                            in the order of their keys; the parts of a local one in any order. None for no answer

    Raises `ValueError`.
    """

    name: str
    left: Side
    right: Side
    row: Callable[[str, Sequence[Any], Sequence[Any]], Any]

    def __post_init__(self) -> None:
        if self.left.table.name == self.right.table.name:
            raise ValueError(f"the join {self.name} has {self.left.table.name} on both sides")

    @property
    def sides(self) -> tuple[Side, Side]:
        """Left and right."""
        return self.left, self.right

    @property
    def tables(self) -> list[Table]:
        """Those that the `ReadSide` is to keep."""
        return [side.table for side in self.sides]

    def answer(self, key: str, left: Sequence[Row], right: Sequence[Row]) -> Any:
        """The row of a key from stored rows; None where there are none. Raises `msgspec.ValidationError` where they are
        not what their projection declares, and what `row` raises."""
        if not left and not right:
            return None
        return self.row(key, _typed(self.left.projection, left), _typed(self.right.projection, right))


def _typed(projection: Projection, rows: Sequence[Row]) -> Sequence[Any]:
    if projection.row is None:
        return rows
    return [msgspec.convert(row, projection.row, str_keys=True, dec_hook=from_plain) for row in rows]
