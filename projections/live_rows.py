"""One row as it changes: what a GET of it gives to those who ask for a stream of events.

Rows are states, so only the newest is sent: whoever is slow, or was away, is spared those in between. The `id` of an
event is the position of the row.
"""

from __future__ import annotations

from typing import Any

import msgspec

from projections.live import Live
from projections.local_store import LocalStore
from projections.projection_app import ReadSide
from projections.queries import raw
from projections.rows import head_of, is_gone, read_position, shown_json
from projections.sse import EventStream, Frame, FrameReader, read_place
from streams.journal import stream_name

PASSED_ON = ("Last-Event-ID", "At-Least")


async def stream_row(side: ReadSide, view: Any, request: Any, type: str, projection: str, key: str) -> Any:
    """Send the row now and then each change of it, here or by the worker that has it.

    A key that does not exist yet is waited for. With `Last-Event-ID` nothing is sent until the row is newer.
    """
    last_event_id = request.headers.get("Last-Event-ID")
    seen = read_place(last_event_id, stream_name(type, side.doors.partition(key))) if last_event_id else None

    async def work(stream: EventStream) -> None:
        await side.doors.read_your_writes(request, [projection])
        partition, table, url = await side.doors.route(request, projection, key)
        stream.table = table
        if url is None:
            local = side.local[type]
            await _follow(stream, local.live, local.store, partition, table, key, seen)
        else:
            path = url + request.rel_url.raw_path_qs
            passed_on = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
            async with side.event_streams.of_worker(path, {projection: table}, passed_on) as response:
                await _pass_on(stream, FrameReader(response.content))

    return await side.event_streams.serve(view, request, work)


async def _follow(
    stream: EventStream,
    live: Live,
    store: LocalStore,
    partition: int,
    table: str,
    key: str,
    seen: tuple[int, int] | None,
) -> None:
    with live.listening(table, [partition], key) as listener:
        await stream.open()
        sent: bytes | None = None
        while True:
            value = raw(store, partition, table, key)
            if value is not None and value != sent:
                position = head_of(value).position
                if seen is None or read_position(position) > seen:
                    async with stream.turn:
                        await stream.send(row_frame(value, position, key).encode())
                sent, seen = value, None
            await listener.wait()


def row_frame(value: bytes, id: str, key: str) -> Frame:
    """The event of a row as it is stored."""
    return gone_frame(id, key) if is_gone(value) else Frame("row", id, shown_json(value))


def gone_frame(id: str, key: str) -> Frame:
    """The event of a row that was removed."""
    return Frame("gone", id, msgspec.json.encode({"id": key}))


async def _pass_on(stream: EventStream, reader: FrameReader) -> None:
    await stream.open()
    while events := await reader.read():
        async with stream.turn:
            await stream.send(events)
