"""The read side with the table of orders alone, like for like with a stock table."""

from aggregates.shop.order import order
from projections.by_key import add_by_key
from projections.kept import Kept
from projections.lag import add_lag
from projections.projection_app import ReadSide
from projections.shop.orders import orders
from streams.aggregate_type import AggregateType
from streams.settings import Settings

settings = Settings.from_environment()
contexts = {"order": AggregateType("orders", order, settings, "shop")}
side = ReadSide(__name__, settings, contexts, [Kept(orders)])
add_lag(side)
add_by_key(side, "order", "orders")
app = side.app
