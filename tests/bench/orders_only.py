"""The read side with the table of orders alone, like for like with a stock table."""

from aggregates.shop.order import order
from projections.app import ReadSide
from projections.operations.lag import add_lag
from projections.shop.tables.orders import orders
from projections.stores.declaration import Table
from projections.views.by_key import add_by_key
from streams.aggregate_type import AggregateType
from streams.settings import Settings

settings = Settings.from_environment(database="shop")
contexts = {"order": AggregateType("orders", order, settings, "shop")}
side = ReadSide(__name__, settings, contexts, [Table(orders)])
add_lag(side)
add_by_key(side, "order", "orders")
app = side.app
