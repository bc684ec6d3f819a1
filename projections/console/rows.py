"""`GET /<type>s/{id}/rows`: the rows that show an aggregate, in each table, and how far that table is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from projections.app import ReadSide
from projections.http.paths import collection
from projections.http.problems import NotNow
from projections.stores.declaration import Table
from streams.access.principal import Role
from streams.web.health import json_response
from streams.web.operation import describe


class TableRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table of a projection that answers. Without a table it is still being built.

    applied    the newest commit of the stream that the table has whole
    position   of the newest event in the row; null where there is none, or it was removed
    sequence   of that event in its aggregate; 0 where the table does not count it
    waits      why later events are not in it
    """

    projection: str
    table: str | None
    applied: int = 0
    position: str | None = None
    sequence: int = 0
    row: Any = None
    waits: str | None = None


class Rows(msgspec.Struct, frozen=True):
    """The answer: the rows with the id of an aggregate as their key."""

    type: str
    id: str
    rows: Sequence[TableRow]


def add_rows(side: ReadSide) -> None:
    """Serve the route for each type that has tables with rows by aggregate."""
    for type, source in side.sources.items():
        kept = {table.name: table for table in source.kept if not table.projection.local}
        if kept:
            _add(side, type, list(kept.values()))


def _add(side: ReadSide, type: str, kept: Sequence[Table]) -> None:
    @side.app.page(f"/{collection(type)}/{{id}}/rows", name=f"{type}-rows")
    @describe(
        collection(type),
        f"The rows that show one {type}, by table",
        Rows,
        reads=True,
        role=Role.READER,
        of=(type,),
    )
    async def rows(view: Any, request: Any, id: str) -> Any:
        async def answer(partition: int, table: str) -> Any:
            return json_response(view, Rows(type, id, [await _row(side, type, each, partition, id) for each in kept]))

        return await side.doors.ask_owner(view, request, kept[0].name, id, answer)


async def _row(side: ReadSide, type: str, kept: Table, partition: int, id: str) -> TableRow:
    table = side.control.serving(kept.name)
    if table is None:
        return TableRow(projection=kept.name, table=None)
    if partition not in side.doors.here(kept.name):
        raise NotNow("the partition has just moved")
    store = side.rows_of(kept)
    stored = (await store.load(partition, table, [id])).get(id)
    waiting = (await store.quarantined(partition, table)).get(id)
    place = (await store.places(partition)).get(table)
    return TableRow(
        projection=kept.name,
        table=table,
        applied=place.complete if place is not None else 0,
        position=stored.position if stored is not None and stored.row is not None else None,
        sequence=stored.sequence if stored is not None else 0,
        row=stored.row if stored is not None else None,
        waits=f"{waiting.error}, at {waiting.position}" if waiting is not None and waiting.events else None,
    )
