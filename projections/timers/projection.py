"""One row per timer that is pending. It goes with the timer: what has fired or was cancelled is in the journal."""

from __future__ import annotations

import json

from aggregates.timer import TimerCancelled, TimerFired, TimerScheduled
from projections.projection import Projection, PublishedEvent, Row
from projections.stores.declaration import Indexes, Table
from streams.moments import in_utc

DUE = "due"


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row | None:
    match published.event:
        case TimerScheduled(due, to, id, command, data, command_id):
            return {
                "id": key,
                "due": in_utc(due),
                "to": to,
                "to_id": id,
                "command": command,
                "data": json.loads(data),
                "command_id": command_id,
                "correlation_id": published.correlation_id,
            }
        case TimerFired() | TimerCancelled():
            return None
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


timers = Projection("timers", 1, "timer", evolve)
kept = Table(timers, Indexes({DUE: lambda row: row["due"]}))
