"""The tail as an app of its own: it publishes journals as events, and keeps no tables. The wiring only."""

from __future__ import annotations

from collections.abc import Mapping

from projections.publishing.connections import Connections
from projections.publishing.publisher import TAIL, Publisher
from streams.aggregate_type import AggregateType
from streams.cli import main as command_line
from streams.permissions import commands as permissions
from streams.runtime.application import Application
from streams.settings import Settings
from streams.web.health import add_health
from streams.web.metrics import add_metrics
from streams.web.notices import add_notices


def tail_app(module: str, settings: Settings, contexts: Mapping[str, AggregateType], name: str = TAIL) -> Application:
    """The Faust app `module`, which publishes the events of these types, and is the consumer group `name`.

    Events go out, and process managers hear them, whatever the tables are doing. The apps of projections that have
    these types are to run with PUBLISH=off.
    """
    app = Application(module, name, settings)
    connections = Connections(app, contexts)
    app.add(connections)
    app.add(Publisher(app, contexts, connections, alone=True))
    add_health(app)
    add_metrics(app)
    add_notices(app)
    command_line.register(app, contexts)
    permissions.register(app)
    return app
