"""A row over HTTP, by its key."""

from __future__ import annotations

from typing import Any

from projections.app import ReadSide
from projections.http.etags import unless_known
from projections.http.forwarding import VARY
from projections.http.paths import collection
from projections.stores.local.queries import raw
from projections.stores.rows import is_gone, shown_json
from projections.streaming.sse import wants_events
from projections.views.live_rows import stream_row, tag_of_row
from projections.views.personal_rows import opened_row
from streams.access.principal import Role
from streams.runtime.web_guard import problem_response
from streams.web.operation import Response, describe


def add_by_key(side: ReadSide, type: str, projection: str, answer_type: Any = dict[str, Any], *, at: str = "") -> None:
    """Serve `/<type>s/{id}`: the row of an aggregate, or a stream of its changes where a client accepts one.

    `answer_type` is the type of a row in the document. A further projection of the type is served `at` a name of its
    own, `/<at>/{id}`. What is personal is opened: who may read the row may read it. Raises `ValueError` where the
    projection has no rows by key.
    """
    local, place = side.local_rows(type, projection), at or collection(type)
    sealer = side.sealer(type)

    @side.app.page(f"/{place}/{{id}}", name=f"{at or type}-by-id")
    @describe(
        place,
        f"{f'The row in {at} of one' if at else 'One'} {type} as it stands now, and its changes as they come",
        Response("Found", answer_type, headers=("Position", "Sequence")),
        reads=True,
        etag=True,
        problems=(404,),
        role=Role.READER,
        of=(type,),
        stream="`row`: the row now, and after each change; `gone`: it was removed",
    )
    async def by_key(view: Any, request: Any, id: str) -> Any:
        if wants_events(request):
            return await stream_row(side, view, request, type, projection, id)

        async def answer(partition: int, table: str) -> Any:
            value = raw(local.store, partition, table, id)
            if value is None or is_gone(value):
                return problem_response(404, "Not found", f"there is no {type} {id}", VARY)
            row = await opened_row(shown_json(value), sealer)
            tag = tag_of_row(table, value, row.mark)
            headers = {"ETag": tag.etag, "Position": tag.position, **VARY}
            if tag.sequence:
                headers["Sequence"] = str(tag.sequence)
            return unless_known(view, request, row.json, headers)

        return await side.doors.ask_owner(view, request, projection, id, answer)
