"""The answer of `/lag`: how far streams and tables are. The projections make it, the command line reads it."""

from __future__ import annotations

import msgspec


class TableLag(msgspec.Struct, frozen=True):
    """How far a table is behind the journal in one stream, in commits, of which there are no more than events, in
    events, and in seconds."""

    table: str
    serving: bool
    applied: int
    commits: int
    events: int
    seconds: float


class StreamLag(msgspec.Struct, frozen=True, kw_only=True):
    """A stream: the newest commit of its log (`head`), the newest that holds an event of the stream (`eventful`), how
    far its events are on Kafka and in the tables that answer, and `lag`, the commits between, of which most may be of
    other streams: no more than there are events. `ahead` are the commits that topic or tables have and the journal does
    not: then it is not the journal that they are from."""

    stream: str
    committed_offset: int | None
    epoch: int
    owner: str | None
    head: int
    eventful: int
    published: int | None
    applied: int | None
    lag: int
    ahead: int
    events: int
    seconds: float
    unpublished_events: int
    projections: list[TableLag]


class Lag(msgspec.Struct, frozen=True):
    """All streams, and the sum of their lags."""

    streams: list[StreamLag]
    total: int

    @property
    def ahead(self) -> list[str]:
        """The streams of which topic or tables have more than the journal."""
        return [row.stream for row in self.streams if row.ahead]
