"""A list as a stream: every change of a row from a moment on, from all partitions of all workers.

The change index is the queue. A client is a position in each partition, and later changes are read when it has taken
the earlier ones. So a slow client costs no memory, and a client that reconnects goes on exactly where it was, whichever
workers have the partitions by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any

import msgspec

from projections.app import ReadSide
from projections.http.at_least import BadPositionHeader
from projections.http.forwarding import HOP, HOP_SECONDS, worker_of
from projections.http.problems import NotNow
from projections.stores.changes import ChangeListener
from projections.stores.local.queries import changes, place, raw, refolded
from projections.stores.rows import decode_stored, encode_row, shown
from projections.streaming.list_cursor import ListCursor
from projections.streaming.sse import EventStream, Frame, FrameReader, read_frames
from projections.views.listing import ListOfRows
from projections.views.live_rows import gone_frame
from streams.concurrency.tasks import until_one_ends
from streams.journal.position import Place, stream_name

AT_ONCE = 100
"""Rows that are read and sent together."""


async def stream_list(side: ReadSide, view: Any, request: Any, listing: ListOfRows, value: str | None) -> Any:
    """Send each change of a row: `row` when it is in the list now, `left` when it is not, `gone` when it was removed.

    The stream begins with `begin`, which has the positions of its start. With `Last-Event-ID` it goes on at that
    position instead, unless another table answers by now.
    """
    doors, name = side.doors, listing.projection
    seen = None
    if last_event_id := request.headers.get("Last-Event-ID"):
        seen = ListCursor.parse(last_event_id, name)
        if seen.streams != {stream_name(listing.type, partition) for partition in doors.all_partitions}:
            raise BadPositionHeader(f"Last-Event-ID: {last_event_id!r} does not name every partition of {name}")

    async def work(stream: EventStream) -> None:
        if HOP in request.headers:
            tables = await doors.tables_of_request(request, [name])
            workers = {doors.own_url: doors.here(name)}
        else:
            await doors.read_your_writes(request, [name])
            tables = await doors.serving(name)
            workers = doors.workers(name)
        stream.table = tables[name]
        goes_on = seen if seen is not None and seen.table == stream.table else None
        here = workers.pop(doors.own_url, [])
        following = _Following(side, stream, listing, value, here, goes_on)
        others = {url + request.rel_url.raw_path_qs: partitions for url, partitions in workers.items()}
        await following.run(others, says_begin=HOP in request.headers or goes_on is None)

    return await side.event_streams.serve(view, request, work)


class _Following:
    """One client: the changes of the partitions that are here, and the streams of the workers with the other ones."""

    def __init__(
        self,
        side: ReadSide,
        stream: EventStream,
        listing: ListOfRows,
        value: str | None,
        here: Collection[int],
        seen: ListCursor | None,
    ) -> None:
        assert stream.table is not None
        self._side = side
        self._stream = stream
        self._listing = listing
        self._value = value
        self._here = here
        self._seen = seen
        self._table = stream.table
        self._store = side.local[listing.type].store
        self._indexes = side.indexes_of(listing.projection)

    async def run(self, others: Mapping[str, Sequence[int]], says_begin: bool) -> None:
        """Stream until the stream of another worker ends. Raises `NotNow`, `Gone`, `Unavailable` and `TooSlow`."""
        with self._side.local[self._listing.type].live.listening(self._table, self._here) as listener:
            partitions = sorted([*self._here, *chain.from_iterable(others.values())])
            self._mark = ListCursor(self._table, {self._name(number): self._begin(number) for number in partitions})
            async with AsyncExitStack() as opened:
                streams = [await self._open(opened, url, partitions) for url, partitions in others.items()]
                await self._stream.open()
                if says_begin:
                    await self._stream.send(Frame("begin", str(self._mark), b"{}").encode())
                await until_one_ends(self._own(listener), *(self._other(reader, first) for reader, first in streams))

    def _name(self, partition: int) -> str:
        return stream_name(self._listing.type, partition)

    def _begin(self, partition: int) -> Place:
        # A partition that is not here has no checkpoint here: its worker says where it begins.
        return self._seen[self._name(partition)] if self._seen else place(self._store, partition, self._table).at

    # -- the partitions that are here -----------------------------------------------------------------------

    async def _own(self, listener: ChangeListener) -> None:
        for partition in self._here:
            await self._send(partition, refolded(self._store, partition, self._table) if self._seen else ())
        while True:
            for partition, again in (await listener.wait()).items():
                await self._send(partition, again)

    async def _send(self, partition: int, keys: Collection[str]) -> None:
        """Send the changes of a partition that the client has not seen, and the rows of these keys."""
        again, is_behind = list(keys), True
        while is_behind:
            # Read without an await: an event with a position must come behind all changes up to that position.
            async with self._stream.turn:
                rows = [(key, self._raw(partition, key)) for key in again[:AT_ONCE]]
                frames = [self._frame(key, row) for key, row in rows if row is not None]
                again = again[AT_ONCE:]
                batch = changes(self._store, partition, self._table, self._mark[self._name(partition)], AT_ONCE)
                for change in batch:
                    self._mark.advance(self._name(partition), change.at)
                    frames.append(self._frame(change.key, change.row))
                if frames:
                    await self._stream.send(b"".join(frame.encode() for frame in frames))
            is_behind = len(batch) == AT_ONCE or bool(again)
            await asyncio.sleep(0)

    def _raw(self, partition: int, key: str) -> bytes | None:
        return raw(self._store, partition, self._table, key)

    def _frame(self, key: str, value: bytes) -> Frame:
        stored = decode_stored(value)
        if stored.row is None:
            return gone_frame(str(self._mark), key)
        if not self._listing.has(self._indexes, stored.row, self._value):
            return Frame("left", str(self._mark), msgspec.json.encode({"id": key}))
        return Frame("row", str(self._mark), encode_row(self._listing.shown(shown(stored))))

    # -- those of other workers -----------------------------------------------------------------------------

    async def _open(
        self, opened: AsyncExitStack, url: str, partitions: Sequence[int]
    ) -> tuple[FrameReader, Sequence[Frame]]:
        """The stream of another worker, and the events that came with its `begin`. Raises `NotNow`."""
        tables = {self._listing.projection: self._table}
        passed_on = {"Last-Event-ID": str(self._seen)} if self._seen else {}
        worker = worker_of(partitions)
        try:
            async with asyncio.timeout(HOP_SECONDS):
                of_worker = self._side.event_streams.of_worker(url, tables, passed_on)
                reader = FrameReader((await opened.enter_async_context(of_worker)).content)
                frames: list[Frame] = []
                while not frames:
                    if not (events := await reader.read()):
                        raise NotNow(f"{worker} has ended its stream")
                    frames = list(read_frames(events))
        except TimeoutError:
            raise NotNow(f"{worker} has not answered in time") from None
        begin, *first = frames
        mark = ListCursor.parse(begin.id, self._listing.projection)
        if mark.streams != set(map(self._name, partitions)):
            raise NotNow(f"{worker} has others now")
        self._mark.add(mark)
        return reader, first

    async def _other(self, reader: FrameReader, frames: Sequence[Frame]) -> None:
        while True:
            if frames:
                async with self._stream.turn:
                    await self._stream.send(b"".join(self._of_worker(frame).encode() for frame in frames))
            if not (events := await reader.read()):
                return
            frames = list(read_frames(events))

    def _of_worker(self, frame: Frame) -> Frame:
        self._mark.add(ListCursor.parse(frame.id, self._listing.projection))
        return frame._replace(id=str(self._mark))
