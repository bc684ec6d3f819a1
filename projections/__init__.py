"""The read side. `publishing` brings journals to Kafka, `applying` folds events into rows, and `stores` keeps rows.

`routing`, `views` and `streaming` answer queries, `gateway` takes commands, `app.ReadSide` wires all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projections.app import ReadSide
    from projections.console.orders.subject_orders import add_subjects
    from projections.console.view import add_console
    from projections.gateway.gateway import accepted_of, add_gateway
    from projections.openapi.view import add_openapi
    from projections.operations.audit import add_audit
    from projections.operations.figures import add_figures
    from projections.operations.lag import add_lag
    from projections.operations.metrics import add_metrics
    from projections.operations.operations import add_operations
    from projections.projection import Projection, PublishedEvent, Row, RowError
    from projections.stores.declaration import Indexes, ReadModelRows, Table
    from projections.stores.listings import SortedIndex
    from projections.stores.sql_columns import SqlColumns
    from projections.timers.view import add_timers
    from projections.views.by_key import add_by_key
    from projections.views.history import add_history
    from projections.views.join import Join, Side
    from projections.views.joined_rows import add_join
    from projections.views.listing import ListOfRows
    from projections.views.lists import add_list
    from projections.views.schemas import add_schemas

__all__ = [
    "Indexes",
    "Join",
    "ListOfRows",
    "Projection",
    "PublishedEvent",
    "ReadModelRows",
    "ReadSide",
    "Row",
    "RowError",
    "Side",
    "SortedIndex",
    "SqlColumns",
    "Table",
    "accepted_of",
    "add_audit",
    "add_by_key",
    "add_console",
    "add_figures",
    "add_gateway",
    "add_history",
    "add_join",
    "add_lag",
    "add_list",
    "add_metrics",
    "add_openapi",
    "add_operations",
    "add_schemas",
    "add_subjects",
    "add_timers",
]

_WHERE = {
    "Indexes": "projections.stores.declaration",
    "Join": "projections.views.join",
    "ListOfRows": "projections.views.listing",
    "Projection": "projections.projection",
    "PublishedEvent": "projections.projection",
    "ReadModelRows": "projections.stores.declaration",
    "ReadSide": "projections.app",
    "Row": "projections.projection",
    "RowError": "projections.projection",
    "Side": "projections.views.join",
    "SortedIndex": "projections.stores.listings",
    "SqlColumns": "projections.stores.sql_columns",
    "Table": "projections.stores.declaration",
    "accepted_of": "projections.gateway.gateway",
    "add_audit": "projections.operations.audit",
    "add_by_key": "projections.views.by_key",
    "add_console": "projections.console.view",
    "add_figures": "projections.operations.figures",
    "add_gateway": "projections.gateway.gateway",
    "add_history": "projections.views.history",
    "add_join": "projections.views.joined_rows",
    "add_lag": "projections.operations.lag",
    "add_list": "projections.views.lists",
    "add_metrics": "projections.operations.metrics",
    "add_openapi": "projections.openapi.view",
    "add_operations": "projections.operations.operations",
    "add_schemas": "projections.views.schemas",
    "add_subjects": "projections.console.orders.subject_orders",
    "add_timers": "projections.timers.view",
}
"""By public name its module, which is imported when the name is used: most of this package needs little of the rest."""


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(_WHERE[name]), name)
