"""All that the console serves: the page, its verdict, dead letters, and what it asks about one aggregate."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import msgspec

from projections.app import ReadSide
from projections.console.contexts import tail_group
from projections.console.dry_run import add_dry_run
from projections.console.findings.snapshot import Context
from projections.console.findings.verdict import Verdict
from projections.console.letter_view import add_letters
from projections.console.observer import PATH, Observer, worker_here
from projections.console.orders.letter_drop import add_drop
from projections.console.orders.owner_orders import OwnerOrders
from projections.console.orders.quarantine_view import add_quarantine
from projections.console.page import add_page
from projections.console.rows import add_rows
from projections.console.schemas.view import add_schema_versions
from projections.console.steps import add_steps
from projections.console.stories.view import add_stories
from projections.gateway.command_data import Accepted
from projections.http.forwarding import HOP
from projections.http.problems import NotNow
from projections.routing.cutover import first_projection
from streams.access.principal import Role
from streams.kafka.topics import FOREVER, READ, Topic
from streams.runtime.part import Part
from streams.runtime.rights import Rights
from streams.web.health import json_response
from streams.web.operation import describe

T = TypeVar("T")


class Contexts(msgspec.Struct, frozen=True):
    """The answer of `/contexts`."""

    contexts: Sequence[Context]


class Console(Part):
    """What the console needs of the servers: to look at the groups of the write side, and of the tail where that runs
    apart, and to read dead letters."""

    def __init__(self, side: ReadSide) -> None:
        self._contexts = side.contexts.values()
        self._tail = tail_group(side)

    @property
    def rights(self) -> Rights:
        return Rights(
            others=tuple(
                Topic(context.dead_letters_topic, context.settings.partitions, FOREVER, needs=(READ,))
                for context in self._contexts
            ),
            watched=(
                *(context.settings.namespace + context.name for context in self._contexts),
                *([self._tail] if self._tail is not None else []),
            ),
        )


def add_console(side: ReadSide, accepted: Accepted) -> None:
    """Serve the console: `/console`, and the routes that it needs besides those that everybody has. `accepted` are the
    commands that clients may send."""
    observer = Observer(side)
    side.app.add(Console(side))
    add_page(side)
    add_rows(side)
    add_dry_run(side, accepted)
    if side.journals:
        add_stories(side)
        add_steps(side)
        add_schema_versions(side)
    orders = OwnerOrders(side, [type for type in side.journals if accepted.get(type)])
    add_letters(side, observer, accepted, [*orders.types])
    add_drop(side, observer, orders)
    add_quarantine(side, orders)

    @side.app.page(PATH, name="findings")
    @describe(
        "operations", "Whether all is well, and else what is wrong and what to do", Verdict, problems=(503,),
        role=Role.AUDITOR,
    )  # fmt: skip
    async def findings(view: Any, request: Any) -> Any:
        if HOP in request.headers:
            return side.doors.part(view, first_projection(side.sources), worker_here(side))
        return json_response(view, await _in_time(observer.verdict()))

    @side.app.page("/contexts", name="contexts")
    @describe(
        "operations", "The workers that decide commands, and the logs that each owns", Contexts, problems=(503,),
        role=Role.AUDITOR,
    )  # fmt: skip
    async def contexts(view: Any, request: Any) -> Any:
        return json_response(view, Contexts(await _in_time(observer.contexts.get())))


async def _in_time(answer: Awaitable[T]) -> T:
    """An answer. Raises `NotNow` where the time is up."""
    try:
        return await answer
    except TimeoutError:
        raise NotNow("not all have said in time how they are") from None
