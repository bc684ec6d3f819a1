"""The products context: `faust -A streams.shop.products worker`."""

from aggregates.shop.product import product
from streams.app import command_app

app = command_app(__name__, "products", product, schema_root="shop", database="shop")
