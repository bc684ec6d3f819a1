"""What the journal says of one aggregate: its events, and its state at any sequence."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from projections.projection_app import ReadSide
from streams.command_app import Context
from streams.described import describe
from streams.health import json_response, problem
from streams.history import entries, learn_for
from streams.journal import Unavailable, stream_name
from streams.reading import Held, decode_event


class Sequence(msgspec.Struct):
    """Up to which event."""

    sequence: (
        Annotated[int, msgspec.Meta(ge=0, lt=10**18, description="The state after this event; after all without it")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


def add_history(side: ReadSide, type: str) -> None:
    """Serve `/<type>s/{id}/history` and `/<type>s/{id}/state?sequence=N`; any worker answers."""
    context, journal = side.contexts[type], side.journals[type]

    @side.app.page(f"/{type}s/{{id}}/history", name=f"{type}-history")
    @describe(f"{type}s", f"The events of one {type}, oldest first", history_type(context), problems=(400, 404, 503))
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
    @describe(
        f"{type}s",
        f"The state of one {type}, now or after one of its events",
        state_type(context),
        query=Sequence,
        problems=(400, 404, 503),
    )
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


def history_type(context: Context) -> type:
    """The type of the answer of `/history`, which refers to the events by name."""
    name = context.decider.type
    as_today = [{"$ref": f"#/components/schemas/{event}"} for event in sorted(context.decider.events)]
    older = {"type": "object", "description": "As an older version had it, or why it cannot be read"}
    data = Annotated[Any, msgspec.Meta(extra_json_schema={"anyOf": [*as_today, older]})]
    entry = msgspec.defstruct(
        f"{name.capitalize()}HistoryEntry",
        [
            ("sequence", int),
            ("time", Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]),
            ("type", str),
            ("position", str),
            ("command_id", str),
            ("correlation_id", str),
            ("schema", Annotated[str | None, msgspec.Meta(description="Full name and version of its Avro schema")]),
            ("data", data),
            (
                "reads_as",
                Annotated[Any, msgspec.Meta(description="What it is read as today, when that is not what was written")],
                msgspec.UNSET,
            ),
        ],
        namespace={"__doc__": f"An event of one {name}, as it was written."},
    )
    fields = [("type", str), ("id", str), ("events", list[entry])]  # type: ignore[valid-type]
    return msgspec.defstruct(f"{name.capitalize()}History", fields)


def state_type(context: Context) -> type:
    """The type of the answer of `/state`."""
    decider = context.decider
    # Of several classes JSON does not say which it is.
    state: Any = decider.state_types[0] if len(decider.state_types) == 1 else Any
    fields = [("type", str), ("id", str), ("sequence", int), ("state", state)]
    return msgspec.defstruct(f"{decider.type.capitalize()}AtSequence", fields)
