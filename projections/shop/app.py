"""The shop's read side: `faust -A projections.shop.app worker`."""

from aggregates.shop.order import order
from aggregates.shop.product import product
from aggregates.shop.user import user
from projections import cli
from projections.history import add_history
from projections.kept import Indexes, Kept
from projections.lag import add_lag
from projections.metrics import add_metrics
from projections.operations import add_operations
from projections.projection_app import ReadSide
from projections.schemas_view import add_schemas
from projections.shop.analytics import revenue, sales_by_month, sales_by_product
from projections.shop.analytics_views import add_analytics
from projections.shop.baskets import baskets
from projections.shop.catalogue import catalogue
from projections.shop.catalogue import columns as catalogue_columns
from projections.shop.orders import orders
from projections.shop.products import products
from projections.shop.recommendation import bought_together
from projections.shop.users import users
from projections.shop.users_orders import columns as users_orders_columns
from projections.shop.users_orders import users_orders
from projections.shop.views import add_views
from streams.command_app import Context
from streams.settings import Settings
from streams.setup import stop_on_user_error
from streams.shop import replay

with stop_on_user_error():
    settings = Settings.from_environment()
    contexts = {
        decider.type: Context(name, decider, settings, "shop")
        for name, decider in (("orders", order), ("products", product), ("users", user))
    }
    side = ReadSide(
        __name__,
        settings,
        contexts,
        [
            Kept(orders, Indexes({"status": lambda row: row["status"]}, changes=True)),
            Kept(revenue),
            Kept(sales_by_product),
            Kept(sales_by_month),
            Kept(baskets),
            Kept(bought_together),
            Kept(users_orders, users_orders_columns),
            Kept(products),
            Kept(catalogue, catalogue_columns),
            Kept(users),
        ],
    )
    add_lag(side)
    add_metrics(side)
    add_operations(side)
    add_views(side)
    add_analytics(side)
    add_schemas(side)
    for type_ in contexts:
        add_history(side, type_)
    app = side.app
    cli.register(app, settings)
    replay.register(app, settings)
