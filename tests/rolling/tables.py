"""Parcels as a table, by code of the new version: `faust -A tests.rolling.tables worker`."""

from __future__ import annotations

from projections.app import ReadSide
from projections.projection import Projection, PublishedEvent, Row
from projections.stores.declaration import Table
from projections.views.by_key import add_by_key
from projections.views.history import add_history
from streams.aggregate_type import AggregateType
from streams.settings import Settings
from tests.rolling.new import SCHEMAS, SealedWith, Weighed, parcel


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
    row = row or {"id": key, "grams": 0, "scales": [], "seal": None}
    match published.event:
        case Weighed(grams, scales):
            return {**row, "grams": row["grams"] + grams, "scales": [*row["scales"], scales]}
        case SealedWith(number):
            return {**row, "seal": number}
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


settings = Settings.from_environment()
contexts = {"parcel": AggregateType("parcels", parcel, settings, schema_root=SCHEMAS)}
side = ReadSide(__name__, settings, contexts, [Table(Projection("parcels", 2, "parcel", evolve))])
add_by_key(side, "parcel", "parcels")
add_history(side, "parcel")
app = side.app
