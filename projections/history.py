"""What the journal says of one aggregate: its events, and its state at any sequence."""

from __future__ import annotations

from typing import Any

import msgspec

from projections.projection_app import ReadSide
from streams.handler import Held, decode_event
from streams.health import json_response, problem
from streams.journal import Unavailable, stream_name


def add_history(side: ReadSide, type: str) -> None:
    """Serve `/<type>s/{id}/history` and `/<type>s/{id}/state?sequence=N`; any worker answers."""
    context, journal = side.contexts[type], side.journals[type]

    @side.app.page(f"/{type}s/{{id}}/history", name=f"{type}-history")
    async def history(view: Any, request: Any, id: str) -> Any:
        try:
            stored = [row for row in await journal.events(type, id) if row.event.is_event]
        except Unavailable as error:
            return problem(view, 503, "Journal not available", str(error))
        if not stored:
            return problem(view, 404, "Not found", f"there is no {type} {id}")
        stream = stream_name(type, side.doors.partition(id))
        events = []
        for row in stored:
            _, data = context.events.decode_to_builtins(row.event.data)
            events.append(
                {
                    "sequence": row.event.sequence,
                    "type": row.event.type,
                    "time": row.recorded_at,
                    "position": f"{stream}:{row.nr}:{row.index}",
                    "command_id": row.event.command_id,
                    "data": data,
                }
            )
        return json_response(view, {"type": type, "id": id, "events": events})

    @side.app.page(f"/{type}s/{{id}}/state", name=f"{type}-state")
    async def state(view: Any, request: Any, id: str) -> Any:
        wanted = request.query.get("sequence")
        if wanted is not None and not (wanted.isdecimal() and len(wanted) < 19):
            return problem(view, 400, "Bad request", f"sequence={wanted!r}: a number from 1")
        decider = context.decider
        current, sequence = decider.initial, 0
        try:
            for row in await journal.events(type, id):
                if row.event.is_event and (wanted is None or row.event.sequence <= int(wanted)):
                    current = decider.evolve(current, await decode_event(context.events, journal, row.event.data))
                    sequence = row.event.sequence
        except (Unavailable, Held) as error:
            return problem(view, 503, "Journal not available", str(error))
        if not sequence:
            return problem(view, 404, "Not found", f"there is no {type} {id}")
        value = {"type": type, "id": id, "sequence": sequence, "state": msgspec.to_builtins(current)}
        return json_response(view, value)
