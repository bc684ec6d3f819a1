"""The shop's read side: `faust -A projections.shop.app worker`."""

from aggregates.shop.order import order
from aggregates.shop.product import product
from aggregates.shop.user import user
from projections import cli
from projections.history import add_history
from projections.lag import add_lag
from projections.metrics import add_metrics
from projections.openapi_view import add_openapi
from projections.operations import add_operations
from projections.projection_app import ReadSide
from projections.schemas_view import add_schemas
from projections.shop.analytics_views import add_analytics
from projections.shop.archive_view import add_archive
from projections.shop.tables import TABLES
from projections.shop.views import add_views
from streams.command_app import Context
from streams.settings import Settings
from streams.setup import stop_on_user_error
from streams.shop import replay

ABOUT = """The shop: commands are decided by aggregates, their events are kept in journals and folded into tables.

Any worker answers for any key. Errors are problem details (RFC 9457); 503 says when to try again. Money is a decimal
string, never a float. To read your own write, send the `position` of its reply as `At-Least`."""

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
        TABLES,
    )
    add_lag(side)
    add_metrics(side)
    add_operations(side)
    add_views(side)
    add_analytics(side)
    add_archive(side, side.read_model)
    add_schemas(side)
    for type_ in contexts:
        add_history(side, type_)
    add_openapi(side, "Shop", ABOUT)
    app = side.app
    cli.register(app, settings)
    replay.register(app, settings)
