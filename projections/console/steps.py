"""A row of a projection, event by event: as the code of this worker makes it of the events of one aggregate.

Nothing is read of a table, and nothing is written: what a table has may be older, or of another version. Of a local
projection that adds up over aggregates it is what this aggregate has brought alone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any

import msgspec

from projections.app import ReadSide
from projections.applying.event_reader import Event
from projections.applying.fold import evolved, reason_of, require_unchanged, touched_by
from projections.http.parameters import read_query
from projections.http.paths import collection
from projections.http.problems import BadRequest, HttpProblem, NotNow
from projections.projection import Projection, Row
from projections.stores.declaration import Table
from projections.stores.rows import encode_row
from streams.access.principal import Role
from streams.concurrency.fairness import yield_if_due
from streams.journal.position import stream_name
from streams.web.health import json_response
from streams.web.operation import describe

MOST_STEPS, DEFAULT_STEPS = 100, 50
MOST_EVENTS = 10_000
"""Events of an aggregate that are looked at: each page begins with the first of them."""
MOST_BYTES = 4 * 1024 * 1024
"""About so much of rows is on a page."""
MOST_KEYS = 100


class StepsQuery(msgspec.Struct):
    """Which projection and key, and where the page begins. However it is written, it fits into a request line."""

    projection: Annotated[str, msgspec.Meta(min_length=1, max_length=100, description="Of the aggregate's type")]
    key: Annotated[
        str, msgspec.Meta(max_length=400, description="Of the row; the first one that the events touch without it")
    ] = ""
    after: Annotated[int, msgspec.Meta(ge=0, lt=10**18, description="The `next` of the page before")] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_STEPS, description="How many steps at most")] = DEFAULT_STEPS


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """An event that touches the row, and the row after it; null where there is none.

    types    what the event stands for today, and `events` what these say, null where JSON does not have it
    skipped  why it is left out
    error    what the projection has raised over it: the row would wait there, so it is the last step
    """

    sequence: int
    position: str
    time: str
    types: Sequence[str]
    events: Sequence[Any]
    row: Any
    skipped: str | None = None
    error: str | None = None


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """A page of steps.

    partial   others than this aggregate's events may be in the row of a table, too
    keys      of the rows that its events touch, the first ones
    before    the row before the first step of the page
    next      `after` of the next page; null on the last one
    more      the aggregate has more events than are looked at
    """

    projection: str
    version: int
    type: str
    id: str
    key: str
    partial: bool
    keys: Sequence[str]
    before: Any
    steps: Sequence[Step]
    next: int | None
    more: bool


class Stepper:
    """Folds the row of one key over the events of an aggregate, which are `given` in their order.

    key    of the row; empty: the first one that is touched
    keys   that were touched so far, in their order, the first ones
    """

    def __init__(self, projection: Projection, key: str = "", skips: Mapping[str, str] | None = None) -> None:
        self.projection = projection
        self.key = key
        self.keys: dict[str, None] = {}
        self.row: bytes | None = None
        """As JSON: a projection that changes what it is given changes nothing here."""
        self._row: Row | None = None
        self._skips = skips or {}
        self.is_over = False

    def given(self, event: Event) -> Step | None:
        """The step of an event; None where it does not touch the row."""
        found = None
        for _, key, parts in touched_by(self.projection, [event]):
            if len(self.keys) < MOST_KEYS:
                self.keys[key] = None
            self.key = self.key or key
            if key == self.key and not self.is_over:
                found = parts
        if found is None:
            return None
        skipped = self._skips.get(event.origin.position)
        error = None
        if skipped is None:
            try:
                fresh = evolved(self.projection, self._row, self.key, found)
                if self._row is not None and self.row is not None:
                    require_unchanged(self._row, self.row)
                self.row, self._row = (None if fresh is None else encode_row(fresh)), fresh
            except Exception as raised:  # whatever it is: a table would have the key wait
                error, self.is_over = reason_of(raised), True
        return Step(
            sequence=event.origin.sequence,
            position=event.origin.position,
            time=event.origin.time,
            types=[part.type for part in event.parts],
            events=[_plain(part.event) for part in event.parts],
            row=_raw(self.row),
            skipped=skipped,
            error=error,
        )


def _raw(row: bytes | None) -> Any:
    return None if row is None else msgspec.Raw(row)


def _plain(event: Any) -> Any:
    try:
        return msgspec.to_builtins(event, str_keys=True)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def add_steps(side: ReadSide) -> None:
    """Serve `/<type>s/{id}/steps` for each type that has a journal and projections."""
    for type in side.journals:
        if kept := {table.name: table for table in side.sources[type].kept}:
            _add(side, type, kept)


def _add(side: ReadSide, type: str, kept: Mapping[str, Table]) -> None:
    @side.app.page(f"/{collection(type)}/{{id}}/steps", name=f"{type}-steps")
    @describe(
        collection(type), f"A row of a projection of one {type}, event by event; nothing is written", Steps,
        query=StepsQuery, problems=(400, 404, 503), role=Role.READER, of=(type,),
    )  # fmt: skip
    async def steps(view: Any, request: Any, id: str) -> Any:
        asked = read_query(request.query, StepsQuery)
        if asked.projection not in kept:
            raise BadRequest(f"no projection of {type} is called {asked.projection!r}; there are {', '.join(kept)}")
        projection = kept[asked.projection].projection
        stepper = Stepper(projection, asked.key, side.control.skips(projection.name))
        before: bytes | None = None
        found: list[Step] = []
        is_last, more, count, size = True, False, 0, 0
        async with aclosing(_events(side, type, id)) as events:
            async for event in events:
                if request.transport is None:
                    raise NotNow("nobody waits for the answer")
                if (count := count + 1) > MOST_EVENTS:
                    more = True
                    break
                row = stepper.row
                step = stepper.given(event)
                if step is None or step.sequence <= asked.after:
                    continue
                if len(found) == asked.limit or size > MOST_BYTES:
                    is_last = False
                    break
                before = before if found else row
                found.append(step)
                size += len(stepper.row or b"")
        if not count:
            raise HttpProblem(404, "Not found", f"there is no {type} {id}")
        answer = Steps(
            projection=projection.name,
            version=projection.version,
            type=type,
            id=id,
            key=stepper.key,
            partial=projection.local,
            keys=[*stepper.keys],
            before=_raw(before),
            steps=found,
            next=None if is_last else found[-1].sequence,
            more=more,
        )
        return json_response(view, answer)


async def _events(side: ReadSide, type: str, id: str) -> AsyncGenerator[Event]:
    """The events of an aggregate, in their order. Raises `Unavailable`, `NotReadableYet`."""
    reader, stream = side.sources[type].reader, stream_name(type, side.doors.partition(id))
    head, _ = await reader.head(stream)
    async with aclosing(reader.of_aggregate(stream, id, (head + 1, 0))) as pages:
        async for events in pages:
            for event in events:
                await yield_if_due()
                yield event
