"""An aggregate as the journal has it: its events, and its state at any sequence."""

from __future__ import annotations

import json
from contextlib import aclosing, suppress
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from projections.app import ReadSide
from projections.http.pages import MOST_ROWS, Limit
from projections.http.parameters import read_query
from projections.http.paths import collection
from projections.http.problems import HttpProblem, NotNow
from schemas.sealing import plain
from streams.access.principal import Role
from streams.aggregate_type import AggregateType
from streams.concurrency.fairness import yield_if_due
from streams.deciding.cache import Aggregate
from streams.journal.event_decoding import decode_event, place_of
from streams.journal.event_view import entries, learn_for, pieces
from streams.journal.port import LAST_SEQUENCE, PAGE_BYTES, Aggregates, StoredEvent
from streams.journal.position import stream_name
from streams.journal.snapshots import form_of
from streams.web.health import json_response
from streams.web.operation import describe


class HistoryPage(msgspec.Struct):
    """The parameters of a page of events."""

    limit: Limit = MOST_ROWS
    after: Annotated[
        int, msgspec.Meta(ge=0, lt=10**18, description="The `next` of the page before, to go on behind it")
    ] = 0


class AtSequence(msgspec.Struct):
    """The parameter of a state: the last event that counts."""

    sequence: (
        Annotated[int, msgspec.Meta(ge=0, lt=10**18, description="The state after this event; after all without it")]
        | UnsetType
    ) = UNSET


MOST_WHY = 300
"""The longest reason why a state is not shown, in characters."""


def add_history(side: ReadSide, type: str) -> None:
    """Serve `/<type>s/{id}/history` and `/<type>s/{id}/state?sequence=N`; any worker answers.

    Raises `ValueError` where there is no journal of the type.
    """
    if type not in side.journals:
        raise ValueError(f"there is no journal of {type} here: its history is its owner's to show")
    context, journal = side.contexts[type], side.journals[type]

    @side.app.page(f"/{collection(type)}/{{id}}/history", name=f"{type}-history")
    @describe(
        collection(type),
        f"The events of one {type}, oldest first, page by page",
        history_type(context),
        query=HistoryPage,
        problems=(400, 404, 503),
        role=Role.READER,
        of=(type,),
    )
    async def history(view: Any, request: Any, id: str) -> Any:
        asked = read_query(request.query, HistoryPage)
        rows, more = await _page(journal, type, id, asked, request)
        if not rows and not (asked.after and await journal.events(type, id, 1, 1)):
            raise HttpProblem(404, "Not found", f"there is no {type} {id}")
        await learn_for(context.events, journal, rows)
        stream = stream_name(type, side.doors.partition(id))
        events: list[Any] = []
        for row in rows:
            events += entries(context.events, stream, [row])
            await _turn(request)
        shown = {"type": type, "id": id, "events": events, "next": events[-1]["sequence"] if more else None}
        return json_response(view, shown)

    @side.app.page(f"/{collection(type)}/{{id}}/state", name=f"{type}-state")
    @describe(
        collection(type),
        f"The state of one {type}, now or after one of its events",
        state_type(context),
        query=AtSequence,
        problems=(400, 404, 409, 503),
        role=Role.READER,
        of=(type,),
    )
    async def state(view: Any, request: Any, id: str) -> Any:
        asked = read_query(request.query, AtSequence)
        upto = LAST_SEQUENCE if asked.sequence is UNSET else asked.sequence
        current, sequence = await state_at(context, journal, id, upto, request)
        if not sequence:
            raise HttpProblem(404, "Not found", f"there is no {type} {id}")
        try:
            return json_response(view, {"type": type, "id": id, "sequence": sequence, "state": as_json(current)})
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            why = f"the state of {type} {id} cannot be shown as JSON: {error}"
            raise HttpProblem(409, "Not shown", why.encode(errors="replace").decode()[:MOST_WHY]) from None


async def state_at(context: AggregateType, journal: Aggregates, id: str, upto: int, request: Any) -> tuple[Any, int]:
    """The state of an aggregate after the event of a sequence, or its last one before that, and the sequence of that
    event; the initial state and 0 where there is none. Raises `Unavailable`, and `NotNow` when the client has left."""
    current, sequence = await _from_snapshot(context, journal, id, upto)
    async with aclosing(pieces(journal, context.decider.type, id, sequence, upto)) as pages:
        async for rows in pages:
            for row in rows:
                events = await decode_event(context.events, journal, row.event.data, place_of(row.event), closed=True)
                current, sequence = context.decider.fold(events, current), row.event.sequence
                await _turn(request)
    return current, sequence


def as_json(state: Any) -> Any:
    """A state in plain JSON values. Raises `TypeError`, `ValueError` and `RecursionError` for a value that JSON does
    not have, such as NaN, which would be shown as null."""
    value = msgspec.to_builtins(state, str_keys=True, enc_hook=plain)
    json.dumps(value, allow_nan=False)
    return value


async def _page(
    journal: Aggregates, type: str, id: str, asked: HistoryPage, request: Any
) -> tuple[list[StoredEvent], bool]:
    """The events of a page, some megabytes at most, and whether there are more."""
    rows: list[StoredEvent] = []
    size = 0
    async with aclosing(pieces(journal, type, id, asked.after, asked.after + asked.limit + 1)) as found_pieces:
        async for piece in found_pieces:
            await _turn(request)
            for row in piece:
                if len(rows) == asked.limit or size > PAGE_BYTES:
                    return rows, True
                rows.append(row)
                size += len(row.event.data)
    return rows, False


async def _from_snapshot(context: AggregateType, journal: Aggregates, id: str, upto: int) -> tuple[Any, int]:
    """The state and sequence from which to fold: of a snapshot that this code can use, or the initial ones."""
    decider = context.decider
    snapshot = await journal.snapshot(decider.type, id)
    if snapshot is not None and snapshot.version == decider.state_version and snapshot.sequence <= upto:
        aggregate = Aggregate(decider.initial)
        with suppress(msgspec.DecodeError, ValueError):
            aggregate.restore(snapshot, form_of(decider))
            return aggregate.state, aggregate.sequence
    return decider.initial, 0


async def _turn(request: Any) -> None:
    """Let other requests have a turn. Raises `NotNow` when the client has left, which ends the work."""
    await yield_if_due()
    if request.transport is None:
        raise NotNow("nobody waits for the answer")


def history_type(context: AggregateType) -> type:
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
            (
                "principal",
                Annotated[str, msgspec.Meta(description="Who has sent the command, if known")],
                msgspec.UNSET,
            ),
            ("on_behalf_of", Annotated[str, msgspec.Meta(description="Of a process: for whom")], msgspec.UNSET),
        ],
        namespace={"__doc__": f"An event of one {name}, as it was written."},
    )
    more = Annotated[int | None, msgspec.Meta(description="`after` of the next page; null on the last one")]
    fields = [("type", str), ("id", str), ("events", list[entry]), ("next", more)]  # type: ignore[valid-type]
    return msgspec.defstruct(f"{name.capitalize()}History", fields)


def state_type(context: AggregateType) -> type:
    """The type of the answer of `/state`."""
    decider = context.decider
    # Of several classes JSON does not say which it is.
    state: Any = decider.state_types[0] if len(decider.state_types) == 1 else Any
    fields = [("type", str), ("id", str), ("sequence", int), ("state", state)]
    return msgspec.defstruct(f"{decider.type.capitalize()}AtSequence", fields)
