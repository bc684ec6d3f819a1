"""The read side of the members: their names in tables of each kind, the console, and the order to forget one."""

from typing import Any

from projections.app import ReadSide
from projections.console.orders.subject_orders import add_subjects
from projections.console.view import add_console
from projections.gateway.gateway import accepted_of, add_gateway
from projections.operations.operations import add_operations
from projections.projection import Projection, PublishedEvent, Row
from projections.stores.declaration import ReadModelRows, Table
from projections.stores.sql_columns import SqlColumns
from projections.views.by_key import add_by_key
from projections.views.history import add_history
from streams.aggregate_type import AggregateType
from streams.runtime.preparation import stop_on_user_error
from streams.settings import Settings
from tests.e2e.members import KINDS, SCHEMAS
from tests.unit.streams.keys.club import Joined


def _evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
    event: Any = published.event
    friends = [*(row["friends"] if row else []), event.friend] if isinstance(event, Joined) else row and row["friends"]
    return {"id": key, "name": event.name, "friends": friends, "times": (row["times"] if row else 0) + 1}


TABLES = [
    Table(Projection("members", 1, "member", _evolve)),
    Table(Projection("listed", 1, "member", _evolve), SqlColumns({"times": "json_extract(row, '$.times')"})),
    Table(Projection("archived", 1, "member", _evolve), ReadModelRows()),
]

with stop_on_user_error():
    settings = Settings.from_environment(database="club")
    contexts = {kind.type: AggregateType("members", kind, settings, SCHEMAS) for kind in KINDS}
    side = ReadSide(__name__, settings, contexts, TABLES, name="members-tables")
    add_by_key(side, "member", "members")
    add_history(side, "member")
    add_history(side, "farewell")
    add_operations(side)
    accepted = accepted_of(contexts.values())
    add_gateway(side, accepted)
    add_console(side, accepted)
    add_subjects(side)
    app = side.app
