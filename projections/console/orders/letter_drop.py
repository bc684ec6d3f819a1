"""`POST /dead-letters/<type>/drop`: dead letters off the list, for good, by their owners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from projections.app import ReadSide
from projections.console.letter_trial import place_of
from projections.console.letter_view import MOST, PlaceText, answered, found, place_in
from projections.console.observer import Observer
from projections.console.orders.owner_orders import OwnerOrders, key_of, until
from projections.http.bodies import Post, Reason, read_body
from streams.access.principal import Role
from streams.cli.dead_letters import letter_command_id
from streams.deciding.orders import DROP, DropData
from streams.web.health import json_response
from streams.web.operation import describe


class DropOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Which letters are dropped."""

    places: Annotated[list[PlaceText], msgspec.Meta(min_length=1, max_length=MOST)]
    reason: Reason


class Dropped(msgspec.Struct, frozen=True):
    """The places of those that are off the list, and of those that their owner will drop when it gets to it."""

    dropped: Sequence[str]
    pending: Sequence[str]


def add_drop(side: ReadSide, observer: Observer, orders: OwnerOrders) -> None:
    """Serve it for the types to whose owners this app gives orders."""
    for type in orders.types:
        _add(side, observer, orders, type)


def _add(side: ReadSide, observer: Observer, orders: OwnerOrders, type: str) -> None:
    @side.app.page(f"/dead-letters/{type}/drop", base=Post, name=f"{type}-dead-letters-drop")
    @describe(
        "dead letters", f"Have dead letters of {type} dropped by their owner, for good; an aggregate that is in"
        " quarantine for one goes on without it", Dropped, body=DropOrder, problems=(404, 503), role=Role.OPERATOR,
        of=(type,),
    )  # fmt: skip
    async def drop(view: Any, request: Any) -> Any:
        records = await found(observer, type, (await read_body(request, DropOrder)).places)
        places = [place_of(record) for record in records]
        await orders.send(
            type,
            [
                (key_of(record.key), DROP, DropData(place, letter_command_id(record)))
                for record, place in zip(records, places, strict=True)
            ],
        )
        left: Sequence[str] = places

        async def are_gone() -> bool:
            nonlocal left
            listed = (await answered(observer.letters.of(type))).places
            left = [place for place in places if place_in(place) in listed]
            return not left

        await until(are_gone)
        return json_response(view, Dropped([place for place in places if place not in left], left))
