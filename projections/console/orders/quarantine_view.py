"""`/quarantine`: what would become of the commands that wait behind one that raised, and their release."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from projections.app import ReadSide
from projections.console.dry_run import decided_now, handler_of
from projections.console.orders.owner_orders import OwnerOrders, until
from projections.http.bodies import Post, Reason, read_body
from projections.http.parameters import read_query
from projections.http.problems import HttpProblem
from projections.views.history import state_at
from streams.access.principal import Role
from streams.cli.quarantine import quarantine_of
from streams.deciding.cache import Aggregate
from streams.deciding.command_handler import SUBJECT_ERASED
from streams.deciding.messages import MAX_ID_LENGTH, Error, Status
from streams.deciding.orders import RELEASE, ReleaseData
from streams.deciding.personal_commands import CannotOpen, open_kept
from streams.deciding.quarantine import Quarantine
from streams.journal.port import LAST_SEQUENCE
from streams.web.health import json_response
from streams.web.operation import describe

MOST_TRIED = 50
"""Commands that wait, of which it is said what would become of them."""
AggregateId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH, description="Of the aggregate")]


class OfAggregate(msgspec.Struct):
    """Which aggregate."""

    id: AggregateId


class WouldBecome(msgspec.Struct, frozen=True, kw_only=True):
    """What would be said to a command that waits, and the types of the events. Where its class is not known it has no
    name."""

    command_id: str
    command: str
    status: Status
    events: Sequence[str] = ()
    error: Error | None = None


class ReleaseTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What a release would do: the command that is given up, how many wait, and what would become of the first ones, in
    their order. `again` is the id of the one that would raise: those behind it would wait on."""

    command_id: str
    waiting: int
    tried: Sequence[WouldBecome]
    again: str | None


class ReleaseOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Which aggregate goes on, without which command."""

    id: AggregateId
    command_id: Annotated[str, msgspec.Meta(min_length=1, max_length=2 * MAX_ID_LENGTH)]
    reason: Reason


class Released(msgspec.Struct, frozen=True):
    """Whether the aggregate goes on already; otherwise its owner lets it when it gets to it."""

    released: bool


def add_quarantine(side: ReadSide, orders: OwnerOrders) -> None:
    """Serve the trial of all types, and the release of those to whose owners this app gives orders."""
    for type in side.journals:
        _add_trial(side, type)
    for type in orders.types:
        _add_release(side, orders, type)


def _add_trial(side: ReadSide, type: str) -> None:
    context = side.contexts[type]
    handler = handler_of(context)

    @side.app.page(f"/quarantine/{type}/dry-run", name=f"{type}-quarantine-dry-run")
    @describe(
        "dead letters", f"What would become of the commands that wait for a {type} in quarantine, if it were released"
        " now; nothing is written", ReleaseTrial, query=OfAggregate, problems=(400, 404, 503), role=Role.READER,
        of=(type,),
    )  # fmt: skip
    async def dry_run(view: Any, request: Any) -> Any:
        id = read_query(request.query, OfAggregate).id
        quarantine = await _quarantine(side, type, id)
        aggregate = Aggregate(*await state_at(context, side.journals[type], id, LAST_SEQUENCE, request))
        tried: list[WouldBecome] = []
        again = None
        for waiting in islice(quarantine.waiting, MOST_TRIED):
            held = waiting.message
            try:
                value = await open_kept(context.keys, type, held.key, held.value, held.headers)
            except CannotOpen as why:
                gone = Error(SUBJECT_ERASED, str(why))
                tried.append(WouldBecome(command_id=waiting.id, command="", status="rejected", events=[], error=gone))
                continue
            envelope, failure = handler.read(replace(held, value=value), waiting.id, waiting.principal)
            if failure is None:
                verdict = decided_now(handler, aggregate, envelope)
                assert verdict.reply is not None
                status, error, failure = verdict.reply.status, verdict.reply.error, verdict.failure
                events = [row.type for row in verdict.rows if row.is_event]
            else:
                status, error, events = "failed", Error(failure.type, failure.message), []
            tried.append(
                WouldBecome(command_id=waiting.id, command=envelope.type, status=status, events=events, error=error)
            )
            if failure is not None and failure.trace:
                again = waiting.id
                break
        found = ReleaseTrial(command_id=quarantine.poison, waiting=len(quarantine.waiting), tried=tried, again=again)
        return json_response(view, found)


def _add_release(side: ReadSide, orders: OwnerOrders, type: str) -> None:
    @side.app.page(f"/quarantine/{type}/release", base=Post, name=f"{type}-quarantine-release")
    @describe(
        "dead letters", f"Let a {type} in quarantine go on without the command that raised", Released,
        body=ReleaseOrder, problems=(404, 409, 503), role=Role.OPERATOR, of=(type,),
    )  # fmt: skip
    async def release(view: Any, request: Any) -> Any:
        order = await read_body(request, ReleaseOrder)
        quarantine = await _quarantine(side, type, order.id)
        if quarantine.poison != order.command_id:
            detail = f"{type} {order.id} is in quarantine for another command by now, {quarantine.poison}"
            raise HttpProblem(409, "Another command", detail)
        await orders.send(type, [(order.id, RELEASE, ReleaseData(order.command_id))])

        async def has_left() -> bool:
            now = await quarantine_of(side.journals[type], type, order.id)
            return now is None or now.poison != order.command_id

        return json_response(view, Released(await until(has_left)))


async def _quarantine(side: ReadSide, type: str, id: str) -> Quarantine:
    """The quarantine of an aggregate. Raises `HttpProblem`, `Unavailable`."""
    quarantine = await quarantine_of(side.journals[type], type, id)
    if quarantine is None:
        raise HttpProblem(404, "Not found", f"{type} {id} is not in quarantine")
    return quarantine
