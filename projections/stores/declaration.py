"""Which projections an app keeps, and where: the wiring, since a projection itself knows nothing of storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from projections.projection import Projection, Row
from projections.stores.listings import SortedIndex
from projections.stores.sql_columns import SqlColumns


@dataclass(frozen=True)
class Indexes:
    """The indexes of rows in RocksDB, beside their keys.

    values   by the name of an index a function from a row to its value there, None for a row that is not in the index;
             the rows of each value are counted as well
    changes  whether rows are found by the position of their last change, so that a client that was away can be sent
             the changes
    """

    values: Mapping[str, Callable[[Row], str | None]] = field(default_factory=dict)
    changes: bool = False


NO_INDEXES = Indexes()


@dataclass(frozen=True)
class ReadModelRows:
    """The orders in which rows of a shared read model are listed, beside their keys."""

    listings: Sequence[SortedIndex] = ()


@dataclass(frozen=True)
class Table:
    """A projection, and `how` its rows are stored, which also says where:

    `Indexes`        in RocksDB on the worker that has the partition, with a changelog and standbys
    `SqlColumns`     likewise, in an SQLite file
    `ReadModelRows`  in a database that all workers share
    """

    projection: Projection
    how: Indexes | SqlColumns | ReadModelRows = NO_INDEXES

    @property
    def store(self) -> str:
        """The kind of store, for people."""
        return _STORES[type(self.how)]

    @property
    def name(self) -> str:
        """That of the projection."""
        return self.projection.name


_STORES = {Indexes: "rocksdb", SqlColumns: "sqlite", ReadModelRows: "read model"}


def table_name(projection: str, version: int, generation: int = 0) -> str:
    """The name of one build of a projection: a later generation is the same version built again."""
    return f"{projection}-{version}.{generation}" if generation else f"{projection}-{version}"


def projection_name(table: str) -> str:
    """The projection that a table is a build of."""
    return table.rpartition("-")[0]


def version_of(table: str) -> int:
    """The version of the projection that a table is a build of."""
    return int(table.rpartition("-")[2].partition(".")[0])
