"""The shop's read side: `faust -A projections.shop.app worker`."""

from projections.app import ReadSide
from projections.console.orders.subject_orders import add_subjects
from projections.console.view import add_console
from projections.gateway.gateway import accepted_of, add_gateway
from projections.openapi.view import add_openapi
from projections.operations import cli
from projections.operations.audit import add_audit
from projections.operations.figures import add_figures
from projections.operations.lag import add_lag
from projections.operations.metrics import add_metrics
from projections.operations.operations import add_operations
from projections.shop.views.analytics import add_analytics
from projections.shop.views.archive import add_archive
from projections.shop.views.customers import add_customers
from projections.shop.views.queries import add_views
from projections.shop.wiring import TABLES, contexts_of
from projections.timers import cli as timers_cli
from projections.timers import projection as timers
from projections.timers.view import add_timers
from projections.views.history import add_history
from projections.views.schemas import add_schemas
from streams.runtime.preparation import stop_on_user_error
from streams.settings import Settings
from streams.shop import replay

ABOUT = """The shop: commands are decided by aggregates, their events are kept in journals and folded into tables.

Any worker answers for any key. Errors are problem details (RFC 9457); 503 says when to try again. Money is a decimal
string, never a float. To read your own write, send the `position` of its reply as `At-Least`."""

with stop_on_user_error():
    settings = Settings.from_environment(database="shop")
    contexts = contexts_of(settings)
    side = ReadSide(
        __name__,
        settings,
        contexts,
        [*TABLES, timers.kept],
    )
    add_lag(side)
    add_metrics(side)
    add_figures(side)
    add_operations(side)
    add_audit(side)
    add_views(side)
    add_analytics(side)
    add_archive(side, side.read_model)
    add_customers(side)
    add_timers(side)
    add_schemas(side)
    for type_ in contexts:
        add_history(side, type_)
    accepted = accepted_of(contexts.values())
    add_gateway(side, accepted)
    add_console(side, accepted)
    add_subjects(side)
    add_openapi(side, "Shop", ABOUT)
    app = side.app
    cli.register(app, settings)
    timers_cli.register(app, settings)
    replay.register(app, settings)
