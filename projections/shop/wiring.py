"""The shop's projections, and where each is kept."""

from __future__ import annotations

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

TABLES = [
    Table(orders, Indexes({"status": lambda row: row["status"]}, changes=True)),
    Table(revenue),
    Table(sales_by_product),
    Table(sales_by_month),
    Table(baskets),
    Table(bought_together),
    Table(users_orders, users_orders_columns),
    Table(order_archive, ReadModelRows([by_user])),  # grows for ever, and is looked at by people who wait
    Table(products),
    Table(catalogue, catalogue_columns),
    Table(users),
    Table(checkouts),
]
