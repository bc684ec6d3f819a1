"""`POST /<type>s/{id}/dry-run`: what an aggregate would say to a command, now or at any moment of its life.

Deciders are pure: the command is read, checked and decided as its owner would, over the state that the journal has, and
nothing is written. Commands with a precondition, and ids that were used before, are an owner's to look at.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from copy import copy
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from aggregates.personal import Sealed
from projections.app import ReadSide
from projections.gateway.command_data import Accepted
from projections.gateway.command_request import CommandReader, read_path_id
from projections.http.bodies import BodyBytes, Post, decode_body, read_bytes
from projections.http.paths import collection
from projections.http.problems import HttpProblem
from projections.views.history import as_json, state_at
from schemas.sealing import ERASED, KeysNeeded, Place
from streams.access.principal import Principal, Role
from streams.aggregate_type import AggregateType
from streams.deciding.cache import Aggregate
from streams.deciding.command_handler import CommandHandler
from streams.deciding.decided_group import DecidedGroup, Verdict
from streams.deciding.messages import JSON, Envelope, Error, Status
from streams.journal.event_decoding import place_of
from streams.journal.port import LAST_SEQUENCE, SliceHead
from streams.runtime.access_guard import is_of_worker, may, may_command, note, sender
from streams.web.health import json_response
from streams.web.operation import describe

MOST_BYTES = 16 * 1024 * 1024
"""Of bodies of all dry runs of a worker that are read at once."""

AtSequence = Annotated[
    int, msgspec.Meta(ge=0, lt=10**18, description="Over the state after this event; after all without it")
]


class DryRun(msgspec.Struct, forbid_unknown_fields=True):
    """A command that is decided, and not sent."""

    type: str
    data: dict[str, Any] = {}
    sequence: AtSequence | msgspec.UnsetType = msgspec.UNSET


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The same, with the data as they came."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    sequence: AtSequence | msgspec.UnsetType = msgspec.UNSET


class WouldHappen(msgspec.Struct, frozen=True):
    """An event that the command would cause."""

    type: str
    data: Any


class DryRunAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the aggregate would say: its reply, the events, and the state before and after, null where JSON does not
    have it. `sequence` is that of the event after which it was asked, 0 for an aggregate that does not exist."""

    command: str
    sequence: int
    status: Status
    events: list[WouldHappen]
    error: Error | None
    before: Any
    after: Any


def add_dry_run(side: ReadSide, accepted: Accepted) -> None:
    """Serve the route for each type of which clients may send commands. It needs a commander who is a reader, too."""
    settings = side.app.settings
    reader = CommandReader(accepted, settings.command_bytes, "", settings.partitions)
    bodies = BodyBytes(MOST_BYTES)
    for type in accepted:
        if accepted[type] and type in side.journals:
            _add(side, reader, type, bodies)


def _add(side: ReadSide, reader: CommandReader, type: str, bodies: BodyBytes) -> None:
    context = side.contexts[type]
    handler = handler_of(context)

    @side.app.page(f"/{collection(type)}/{{id:[^/]+}}/dry-run", base=Post, name=f"{type}-dry-run")
    @describe(
        collection(type),
        f"What one {type} would say to a command, now or at an earlier moment; nothing is written",
        DryRunAnswer,
        body=DryRun,
        path={"id": f"The id of the {type}, in percent-encoded UTF-8"},
        problems=(503,),
        role=Role.COMMANDER,
        of=(type,),
    )
    async def dry_run(view: Any, request: Any, id: str) -> Any:
        key = read_path_id(request.rel_url.raw_path, 2)
        with bodies.of_request() as room:
            asked = decode_body(await read_bytes(request, context.settings.command_bytes, room), _Asked)
            name, data, _ = reader.parse(type, msgspec.json.encode({"type": asked.type, "data": asked.data}))
            note(request, name)
            _require_rights(side, request, type, name, key)
            upto = LAST_SEQUENCE if asked.sequence is msgspec.UNSET else asked.sequence
            state, sequence = await state_at(context, side.journals[type], key, upto, request)
            aggregate = Aggregate(state, sequence)
            verdict = decided(handler, aggregate, name, data, key, sender(side.app, type))
        return json_response(view, answer_of(context, verdict, name, sequence, state, aggregate.state))


def _require_rights(side: ReadSide, request: Any, type: str, name: str, key: str) -> None:
    """Raise `HttpProblem` where whoever asks may not send the command, or may not see what would come of it."""
    if is_of_worker(request):
        return
    if not may_command(side.app, type, name, key):
        raise HttpProblem(403, "Forbidden", f"you may not send {name} to {type} {key}")
    if not may(side.app, Role.READER, type):
        raise HttpProblem(403, "Forbidden", f"what {type} {key} would say is for its readers")


class _Trial:
    """Seals nothing: what comes of a trial is thrown away."""

    lease = math.inf

    def seal(self, type: str, place: Place, field: str, subject: str, value: str) -> bytes:
        return ERASED

    def unseal(self, sealed: Sealed) -> str | None:
        return None

    def cold(self, subjects: Iterable[str]) -> list[str]:
        return []

    async def fetch(self, subjects: Collection[str], create: bool = False) -> None:
        """Nothing is needed."""

    async def fetch_needed(self, needed: KeysNeeded) -> None:
        """Nothing is needed."""


def handler_of(context: AggregateType) -> CommandHandler:
    """What decides the commands of a type, as in an owner of its logs; it makes no keys."""
    events = copy(context.events)
    events.sealer = _Trial() if context.keys is not None else None
    return CommandHandler(
        decider=context.decider,
        events=events,
        commands=context.commands,
        window=1,
        limits=context.limits(),
    )


def decided(
    handler: CommandHandler, aggregate: Aggregate, name: str, data: bytes, key: str, who: Principal | None = None
) -> Verdict:
    """The verdict on a command of somebody, in a group of its own that nobody commits. An accepted one changes the
    aggregate."""
    now = datetime.now(UTC)
    envelope = Envelope(
        id="dry-run", type=name, aggregate_id=key, data=data, content_type=JSON, partition=0, offset=0, time=now
    )
    envelope.principal = who
    return decided_now(handler, aggregate, envelope)


def decided_now(handler: CommandHandler, aggregate: Aggregate, envelope: Envelope) -> Verdict:
    """The same of a command that has come."""
    group = DecidedGroup(
        log="dry run",
        type=handler.decider.type,
        limits=handler.limits,
        nr=1,
        slices={envelope.partition: SliceHead()},
        time=datetime.now(UTC),
        is_discreet=handler.is_discreet,
    )
    return handler.decide(envelope, aggregate, group)


def answer_of(
    context: AggregateType, verdict: Verdict, name: str, sequence: int, before: Any, after: Any
) -> DryRunAnswer:
    """A verdict for people."""
    assert verdict.reply is not None
    return DryRunAnswer(
        command=name,
        sequence=sequence,
        status=verdict.reply.status,
        events=[
            WouldHappen(row.type, context.events.decode_as_written(row.data, place_of(row))[1])
            for row in verdict.rows
            if row.is_event
        ],
        error=verdict.reply.error,
        before=_shown(before),
        after=_shown(after),
    )


def _shown(state: Any) -> Any:
    try:
        return as_json(state)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
