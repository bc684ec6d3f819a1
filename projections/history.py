"""What the journal says of one aggregate: its events, and its state at any sequence."""

from __future__ import annotations

from typing import Any

import msgspec

from projections.projection_app import ReadSide
from streams.health import json_response, problem
from streams.history import entries, learn_for
from streams.journal import Unavailable, stream_name
from streams.reading import Held, decode_event


def add_history(side: ReadSide, type: str) -> None:
    """Serve `/<type>s/{id}/history` and `/<type>s/{id}/state?sequence=N`; any worker answers."""
    context, journal = side.contexts[type], side.journals[type]

    @side.app.page(f"/{type}s/{{id}}/history", name=f"{type}-history")
    async def history(view: Any, request: Any, id: str) -> Any:
        try:
            stored = [row for row in await journal.events(type, id) if row.event.is_event]
            await learn_for(context.events, journal, stored)
        except Unavailable as error:
            return problem(view, 503, "Journal not available", str(error))
        if not stored:
            return problem(view, 404, "Not found", f"there is no {type} {id}")
        stream = stream_name(type, side.doors.partition(id))
        events = list(entries(context.events, stream, stored))
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
                    current = decider.fold(await decode_event(context.events, journal, row.event.data), current)
                    sequence = row.event.sequence
        except (Unavailable, Held) as error:
            return problem(view, 503, "Journal not available", str(error))
        if not sequence:
            return problem(view, 404, "Not found", f"there is no {type} {id}")
        value = {"type": type, "id": id, "sequence": sequence, "state": msgspec.to_builtins(current)}
        return json_response(view, value)
