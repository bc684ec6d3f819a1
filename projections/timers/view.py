"""The pending timers over HTTP. What fires them is `streams/processes/timer_watch.py`."""

from __future__ import annotations

from itertools import islice
from typing import Any, TypedDict

from projections.app import ReadSide
from projections.http.forwarding import Tables
from projections.http.pages import Paging, page
from projections.http.parameters import read_query
from projections.projection import Row
from projections.stores.local.queries import in_order
from projections.stores.rows import decode_stored, shown
from projections.timers.projection import DUE, timers
from projections.views.by_key import add_by_key
from streams.access.principal import Role
from streams.concurrency.fairness import yield_if_due
from streams.web.operation import describe

TYPE, NAME = timers.source, timers.name


class TimerRow(TypedDict):
    """A timer that is pending, and the command that it will send."""

    id: str
    due: str
    to: str
    to_id: str
    command: str
    data: Any
    command_id: str | None
    correlation_id: str
    position: str
    sequence: int


class Timers(TypedDict):
    """A page of the timers that are pending."""

    timers: list[TimerRow]
    next: str | None


def add_timers(side: ReadSide) -> None:
    """Serve `/timers` and `/timers/{id}`."""
    _add_list(side)
    add_by_key(side, TYPE, NAME, TimerRow)


def _add_list(side: ReadSide) -> None:
    local = side.local[TYPE]

    @side.app.page(f"/{NAME}", name="timer-list")
    @describe(
        NAME,
        "The timers that are pending, by when they are due",
        Timers,
        query=Paging,
        reads=True,
        role=Role.READER,
        of=(TYPE,),
    )
    async def pending(view: Any, request: Any) -> Any:
        asked = read_query(request.query, Paging)
        due, _, id = asked.after.partition(" ")
        after = (due, id) if asked.after else None

        async def here(partitions: list[int], tables: Tables) -> list[Any]:
            found: list[Row] = []
            for partition in partitions:
                await yield_if_due()
                keys = [
                    key
                    for _, key in islice(in_order(local.store, partition, tables[NAME], DUE, after), asked.limit + 1)
                ]
                rows = local.store.get_many(partition, tables[NAME], keys)
                found += [shown(decode_stored(row)) for row in rows.values()]
            return found

        def put(answers: list[Any]) -> Any:
            rows, more = page(answers, asked.limit, lambda row: (row["due"], row["id"]))
            return {NAME: rows, "next": f"{rows[-1]['due']} {rows[-1]['id']}" if more else None}

        return await side.doors.gather(view, request, [NAME], here, put)
