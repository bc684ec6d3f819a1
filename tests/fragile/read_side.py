"""The read side of the ledger, with the console; it has the bug as well, mended as that of the ledger's app. Its
projection raises over a post of 13."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from projections.app import ReadSide
from projections.console.view import add_console
from projections.gateway.gateway import accepted_of, add_gateway
from projections.openapi.view import add_openapi
from projections.operations.audit import add_audit
from projections.operations.lag import add_lag
from projections.operations.operations import add_operations
from projections.projection import Projection, PublishedEvent
from projections.stores.declaration import Table
from projections.views.history import add_history
from streams.aggregate_type import AggregateType
from streams.settings import Settings
from tests.fragile.ledger import SCHEMAS, ledger


def evolve(row: Mapping[str, Any] | None, key: str, event: PublishedEvent) -> Mapping[str, Any]:
    if event.type == "Posted" and event.event.amount == 13:
        raise ValueError("13 brings no luck")
    return {"events": (row or {"events": 0})["events"] + 1}


settings = Settings.from_environment()
context = AggregateType("ledgers", ledger(Path(os.environ.get("LEDGER_MENDED", "/nowhere")).exists), settings, SCHEMAS)
side = ReadSide(__name__, settings, {"ledger": context}, [Table(Projection("ledgers", 1, "ledger", evolve))])
add_lag(side)
add_audit(side)
add_operations(side)
add_history(side, "ledger")
accepted = accepted_of([context])
add_gateway(side, accepted)
add_console(side, accepted)
add_openapi(side, "Ledgers", "Ledgers with a bug.")
app = side.app
