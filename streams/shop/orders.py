"""The orders context: `faust -A streams.shop.orders worker`."""

from aggregates.shop.order import order
from streams.app import command_app

app = command_app(__name__, "orders", order, schema_root="shop", database="shop")
