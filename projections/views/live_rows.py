"""One row as a stream of its states, for a GET that accepts a stream of events.

Only the newest state is sent: a client that is slow, or was away, does not get the states in between. The `id` of an
event is the tag of the row, the ETag of a GET: it names the table, the position, and the bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from projections.app import ReadSide
from projections.http.at_least import BadPositionHeader
from projections.http.etags import Tag, read_tag, tag_of
from projections.http.forwarding import passed_on
from projections.stores.local.queries import raw
from projections.stores.local.tables import LocalRows
from projections.stores.rows import head_of, is_gone, shown_json
from projections.streaming.sse import EventStream, Frame, FrameReader, read_place
from projections.views.personal_rows import OpenedRow, opened_row
from schemas.sealing import Sealer
from streams.journal.position import Place, parse_place, stream_name

PASSED_ON = ("Last-Event-ID", "At-Least")


class LastSeen(NamedTuple):
    """The last state of a row that a client has seen: commit number and index, and the tag if there was one."""

    at: Place
    tag: str = ""

    def is_all(self, tag: Tag) -> bool:
        """Whether the client has seen the row with this tag, or a newer one."""
        return str(tag) == self.tag or parse_place(tag.position) < self.at


def read_seen_row(last_event_id: str, stream: str) -> LastSeen:
    """The state that a `Last-Event-ID` names, which is the tag of a row, or a position alone.

    Raises `BadPositionHeader`.
    """
    tag = read_tag(last_event_id)
    try:
        return LastSeen(read_place(last_event_id if tag is None else tag.position, stream), str(tag or ""))
    except BadPositionHeader:
        raise BadPositionHeader(
            f"Last-Event-ID: {last_event_id[:100]!r} is not the id of an event of {stream}"
        ) from None


def tag_of_row(table: str, value: bytes, mark: bytes = b"") -> Tag:
    """The tag of a stored row; its digest differs also where the row was folded anew, or what is shown of it has a
    `mark`."""
    head = head_of(value)
    return tag_of(table, head.position, head.sequence, value + mark)


async def stream_row(side: ReadSide, view: Any, request: Any, type: str, projection: str, key: str) -> Any:
    """Send the row now and after each change; the worker that has the row streams it.

    A row that does not exist yet is sent when it does. With `Last-Event-ID` nothing is sent until the row differs from
    the state that the client has seen: it is newer, corrected, or of another table.
    """
    last_event_id = request.headers.get("Last-Event-ID")
    seen = read_seen_row(last_event_id, stream_name(type, side.doors.partition(key))) if last_event_id else None

    async def work(stream: EventStream) -> None:
        await side.doors.read_your_writes(request, [projection])
        partition, table, url = await side.doors.route(request, projection, key)
        stream.table = table
        if url is None:
            await _follow(stream, side.local[type], partition, table, key, seen, side.sealer(type))
        else:
            path = url + request.rel_url.raw_path_qs
            headers = passed_on(request, PASSED_ON)
            async with side.event_streams.of_worker(path, {projection: table}, headers) as response:
                await _pass_on(stream, FrameReader(response.content))

    return await side.event_streams.serve(view, request, work)


async def _follow(
    stream: EventStream,
    local: LocalRows,
    partition: int,
    table: str,
    key: str,
    seen: LastSeen | None,
    sealer: Sealer | None = None,
) -> None:
    with local.live.listening(table, [partition], key) as listener:
        await stream.open()
        sent: bytes | None = None
        while True:
            value = raw(local.store, partition, table, key)
            if value is not None and value != sent:
                row = OpenedRow(b"") if is_gone(value) else await opened_row(shown_json(value), sealer)
                tag = tag_of_row(table, value, row.mark)
                if seen is None or not seen.is_all(tag):
                    async with stream.turn:
                        await stream.send(row_frame(row.json, str(tag), key).encode())
                    seen = None
                sent = value
            await listener.wait()


def row_frame(json: bytes, id: str, key: str) -> Frame:
    """The event of a row, as JSON; empty for one that was removed."""
    return Frame("row", id, json) if json else gone_frame(id, key)


def gone_frame(id: str, key: str) -> Frame:
    """The event of a row that was removed."""
    return Frame("gone", id, msgspec.json.encode({"id": key}))


async def _pass_on(stream: EventStream, reader: FrameReader) -> None:
    await stream.open()
    while events := await reader.read():
        async with stream.turn:
            await stream.send(events)
