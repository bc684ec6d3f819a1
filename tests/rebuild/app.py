"""Orders with a bug, in one version or several: `faust -A tests.rebuild.app worker`.

It raises on a line of the stock code `BROKEN` until the file that `REBUILD_MENDED` names is there. `REBUILD_VERSIONS`
says which versions of the projection this code has, `1`, `2` or `1,2`; rows of version 2 say so.
"""

from __future__ import annotations

import os
from pathlib import Path

from aggregates.shop.order import LineAdded, OrderOpened, order
from projections.app import ReadSide
from projections.applying import partition_processor
from projections.operations import cli
from projections.operations.lag import add_lag
from projections.operations.operations import add_operations
from projections.projection import Projection, PublishedEvent, Row
from projections.shop.tables import orders as shop
from projections.shop.tables.users_orders import columns, users_orders
from projections.stores.declaration import Table
from projections.views.by_key import add_by_key
from projections.views.history import add_history
from streams.aggregate_type import AggregateType
from streams.settings import Settings

partition_processor.NEAR = 100  # so that little is behind, too

MENDED = Path(os.environ.get("REBUILD_MENDED", "/nowhere"))


class Bug(Exception):
    """What the projection raises."""


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
    if isinstance(published.event, LineAdded) and published.event.sku == "BROKEN" and not MENDED.exists():
        raise Bug(f"{key} has a line that is broken")
    return shop.evolve(row, key, published)


def evolve_2(row: Row | None, key: str, published: PublishedEvent) -> Row:
    return {**evolve(row, key, published), "version": 2}


def country(published: PublishedEvent) -> tuple[str, ...]:
    return (published.event.country,) if isinstance(published.event, OrderOpened) else ()


def count(row: Row | None, key: str, published: PublishedEvent) -> Row:
    return {"country": key, "orders": (row["orders"] if row else 0) + 1}


countries = Projection("countries", 1, "order", count, country, local=True)
VERSIONS = {"1": Projection("orders", 1, "order", evolve), "2": Projection("orders", 2, "order", evolve_2)}

settings = Settings.from_environment()
kept = [Table(VERSIONS[version]) for version in os.environ.get("REBUILD_VERSIONS", "1").split(",")]
contexts = {"order": AggregateType("orders", order, settings, "shop")}
side = ReadSide(__name__, settings, contexts, [*kept, Table(users_orders, columns), Table(countries)])
add_by_key(side, "order", "orders")
add_history(side, "order")
add_lag(side)
add_operations(side)
app = side.app
cli.register(app, settings)
