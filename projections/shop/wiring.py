"""The shop's aggregate types by name, its projections, and where each is kept."""

from __future__ import annotations

from aggregates.shop.checkout import checkout
from aggregates.shop.email import email
from aggregates.shop.order import order
from aggregates.shop.product import product
from aggregates.shop.user import user
from aggregates.subject import subject
from aggregates.timer import timer
from projections.shop.analytics.baskets import baskets
from projections.shop.analytics.recommendation import bought_together
from projections.shop.analytics.sales import revenue, sales_by_month, sales_by_product
from projections.shop.tables.archive import by_user, order_archive
from projections.shop.tables.catalogue import catalogue
from projections.shop.tables.catalogue import columns as catalogue_columns
from projections.shop.tables.checkouts import checkouts
from projections.shop.tables.orders import orders
from projections.shop.tables.products import products
from projections.shop.tables.users import users
from projections.shop.tables.users_orders import columns as users_orders_columns
from projections.shop.tables.users_orders import users_orders
from projections.stores.declaration import Indexes, ReadModelRows, Table
from streams.aggregate_type import AggregateType
from streams.settings import Settings

TABLES = [
    Table(orders, Indexes({"status": lambda row: row["status"]}, changes=True)),
    Table(revenue),
    Table(sales_by_product),
    Table(sales_by_month),
    Table(baskets),
    Table(bought_together),
    Table(users_orders, users_orders_columns),
    Table(order_archive, ReadModelRows([by_user])),  # it grows for ever, and people wait for its answers
    Table(products),
    Table(catalogue, catalogue_columns),
    Table(users),
    Table(checkouts),
]


def contexts_of(settings: Settings) -> dict[str, AggregateType]:
    """The shop's aggregate types, and the engine's: timers, and persons who were forgotten. Raises `SchemaError`."""
    kinds = ("orders", order), ("products", product), ("users", user), ("users", email), ("checkout", checkout)
    contexts = {kind.type: AggregateType(name, kind, settings, "shop") for name, kind in kinds}
    engine = {kind.type: AggregateType("timers", kind, settings, "engine") for kind in (timer, subject)}
    return {**contexts, **engine}
