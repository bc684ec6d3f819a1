"""A list of rows as a value: its projection, the index by which rows are selected, and the form of each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from projections.projection import Row
from projections.stores.declaration import Indexes
from projections.stores.local.indexes import value_of


@dataclass(frozen=True)
class ListOfRows:
    """The rows of a projection by key: all of them, or those under one of `values` of an index.

    index   the name of the index, and of the query parameter
    shown   makes an entry of the list from a row
    answer  the type of a page, for the document
    """

    type: str
    projection: str
    index: str
    values: Sequence[str]
    shown: Callable[[Row], Row]
    answer: Any = dict[str, Any]

    def has(self, indexes: Indexes, row: Row, value: str | None) -> bool:
        """Whether a row is in the list of a value; None stands for the list of all rows."""
        return value is None or value == value_of(self.index, indexes.values[self.index], row)
