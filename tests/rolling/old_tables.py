"""Parcels as a table, by code of the version that is replaced: `faust -A tests.rolling.old_tables worker`."""

from __future__ import annotations

from projections.app import ReadSide
from projections.projection import Projection, PublishedEvent, Row
from projections.stores.declaration import Table
from projections.views.by_key import add_by_key
from streams.aggregate_type import AggregateType
from streams.settings import Settings
from tests.rolling.old import SCHEMAS, Sealed, Weighed, parcel


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
    row = row or {"id": key, "grams": 0, "sealed": False}
    match published.event:
        case Weighed(grams):
            return {**row, "grams": row["grams"] + grams}
        case Sealed():
            return {**row, "sealed": True}
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


settings = Settings.from_environment()
contexts = {"parcel": AggregateType("parcels", parcel, settings, schema_root=SCHEMAS)}
side = ReadSide(__name__, settings, contexts, [Table(Projection("parcels", 1, "parcel", evolve))])
add_by_key(side, "parcel", "parcels")
app = side.app
