"""A list of rows as a value: of which projection, which rows there are to choose from, and what is shown of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from projections.projection import Row
from projections.stores.declaration import Indexes
from projections.stores.local.indexes import value_of


@dataclass(frozen=True)
class ListOfRows:
    """The rows of a projection by their keys, all or those under one of `values` of an index, by whose name they are
    asked for. `shown` makes of a row what a list has of it, and `answer` is the type of a page of them."""

    type: str
    projection: str
    index: str
    values: Sequence[str]
    shown: Callable[[Row], Row]
    answer: Any = dict[str, Any]

    def has(self, indexes: Indexes, row: Row, value: str | None) -> bool:
        """Whether a row is in the list of a value; None: in that of all."""
        return value is None or value == value_of(self.index, indexes.values[self.index], row)
