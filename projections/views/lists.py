"""Lists of rows over HTTP, by their keys: in pages, and as they change."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Literal

import msgspec

from projections.app import ReadSide
from projections.http.forwarding import VARY, Tables
from projections.http.pages import Paging, page
from projections.http.parameters import read_query
from projections.http.paths import collection
from projections.stores.local.queries import listed
from projections.stores.rows import decode_row
from projections.streaming.sse import wants_events
from projections.views.listing import ListOfRows
from projections.views.live_lists import stream_list
from streams.access.principal import Role
from streams.concurrency.fairness import chunks, yield_if_due
from streams.web.operation import describe


def add_list(side: ReadSide, listing: ListOfRows) -> None:
    """Serve `/<type>s`: pages of rows, and their changes to those who ask for a stream of events. Raises `ValueError`
    where the table has not the index, or not that of changes."""
    name, local = collection(listing.type), side.local_rows(listing.type, listing.projection)
    indexes = side.indexes_of(listing.projection)
    if listing.index not in indexes.values or not indexes.changes:
        there = f"Indexes({{{', '.join(map(repr, indexes.values))}}}, changes={indexes.changes})"
        wanted = f"an index {listing.index!r} and changes=True"
        raise ValueError(f"the list of {listing.type} wants {wanted}; the table {listing.projection} has {there}")

    chosen = Literal[tuple(listing.values)] | msgspec.UnsetType  # type: ignore[valid-type]
    query: Any = msgspec.defstruct("Query", [(listing.index, chosen, msgspec.UNSET)], bases=(Paging,))

    @side.app.page(f"/{name}", name=f"{listing.type}-list")
    @describe(
        name,
        f"All {name} by id, or those of one {listing.index}; and their changes as they come",
        listing.answer,
        query=query,
        reads=True,
        role=Role.READER,
        of=(listing.type,),
        stream="`row`: a row that is in the list now; `left`: one that is not any more; `gone`: one that was removed. "
        "`begin` says where it begins",
    )
    async def rows(view: Any, request: Any) -> Any:
        asked = read_query(request.query, query)
        value = getattr(asked, listing.index) or None
        if wants_events(request):
            return await stream_list(side, view, request, listing, value)
        under = None if value is None else (listing.index, value)

        async def here(partitions: list[int], tables: Tables) -> list[Any]:
            rows = listed(local.store, partitions, tables[listing.projection], under, asked.after, asked.limit + 1)
            shown: list[Any] = []
            for chunk in chunks(rows):
                await yield_if_due()
                shown += ({"key": key, "row": listing.shown(decode_row(row))} for key, row in chunk)
            return shown

        def put(parts: list[Any]) -> Any:
            entries, more = page(parts, asked.limit, itemgetter("key"))
            return {name: [entry["row"] for entry in entries], "next": entries[-1]["key"] if more else None}

        return await side.doors.gather(view, request, [listing.projection], here, put, VARY)
