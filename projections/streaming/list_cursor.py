"""The cursor of a client that follows a list: the `id` of its events, which has a position of every stream.

orders-1,order-0:12:3,order-1:7:0,order-2:0:0,order-3:31:0
"""

from __future__ import annotations

from collections.abc import Mapping

from projections.http.at_least import BadPositionHeader
from projections.stores.declaration import projection_name
from projections.streaming.sse import read_place
from streams.journal.position import Place, position_text


class ListCursor:
    """The table that the client has seen, and by stream the place of the last change."""

    def __init__(self, table: str, at: Mapping[str, Place]) -> None:
        self.table = table
        self._at = dict(at)
        self._text = {stream: self._write(stream, at) for stream, at in self._at.items()}

    @classmethod
    def parse(cls, text: str, projection: str) -> ListCursor:
        """The opposite of `str(cursor)`. Raises `BadPositionHeader`."""
        table, *places = text.split(",")
        if ":" in table or projection_name(table) != projection:
            raise BadPositionHeader(f"Last-Event-ID: {text!r} names no table of {projection}")
        at: dict[str, Place] = {}
        for place in places:
            stream = place.partition(":")[0]
            at[stream] = read_place(place, stream)
        return cls(table, at)

    def __getitem__(self, stream: str) -> Place:
        return self._at[stream]

    def __str__(self) -> str:
        return ",".join([self.table, *self._text.values()])

    @property
    def streams(self) -> set[str]:
        """The streams that it names."""
        return set(self._at)

    def advance(self, stream: str, at: Place) -> None:
        """Move to this change: the client has seen it, and all before it."""
        self._at[stream] = at
        self._text[stream] = self._write(stream, at)

    def add(self, other: ListCursor) -> None:
        """Move to the places of another worker's cursor, in the streams that it has."""
        self._at.update(other._at)
        self._text.update(other._text)

    @staticmethod
    def _write(stream: str, at: Place) -> str:
        nr, index = at
        return position_text(stream, nr, max(index, 0))  # before the first event it is -1
