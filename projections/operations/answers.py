"""The answers of the engine's views: what their JSON has. Positions are `<stream>:<commit number>:<index>`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from projections.applying.refolding import RefoldedRow


class Fault(TypedDict):
    """What is wrong with a body, and where: `pointer` is a JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


class Problem(TypedDict):
    """An error as RFC 9457 has it. `detail` says what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[Fault]]


# -- lag --------------------------------------------------------------------------------------------------------


class TableLag(TypedDict):
    """How far a table is behind the journal in one stream, in commits, in events, and in seconds."""

    table: str
    serving: bool
    applied: int
    commits: int
    events: int
    seconds: float


class StreamLag(TypedDict):
    """A stream: the newest commit of its journal (`head`), the newest that holds an event (`eventful`), how far its
    events are on Kafka and in the tables that answer, and `lag`, the commits between. `ahead` are the commits that
    topic or tables have and the journal does not: then it is not the journal that they are from."""

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


class Lag(TypedDict):
    """All streams, and the sum of their lags."""

    streams: list[StreamLag]
    total: int


# -- projections ------------------------------------------------------------------------------------------------


class HowFar(TypedDict):
    """Events that are done, of how many, at which rate, and the seconds left; null: not known."""

    done: int
    total: int
    rate: float
    seconds_left: float | None


PartState = Literal["current", "behind", "paused", "held", "left", "absent"]
"""Of a table in one partition; `left`: no code there keeps it up to date, `absent`: nor is it there."""
TableState = Literal["serving", "complete", "building", "held", "paused", "frozen", "to drop"]
"""Of a table in all partitions."""


class TablePartition(HowFar):
    """A table in one partition."""

    state: PartState
    applied: int
    error: str | None


class TableStatus(HowFar):
    """A table: what it is in all, and by partition."""

    table: str
    state: TableState
    error: str | None
    quarantined_keys: int
    partitions: dict[str, TablePartition]


class SkippedEvent(TypedDict):
    """An event that a projection leaves out."""

    position: str
    reason: str


class WaitingKey(msgspec.Struct, frozen=True):
    """A key in quarantine: its events wait since the first of them could not be applied."""

    table: str
    key: str
    position: str
    error: str
    events: int


class ProjectionStatus(TypedDict):
    """A projection, the table that answers (`serving`), and all its tables. Version and store are null when no worker
    has code for it any more."""

    name: str
    version: int | None
    source: str
    store: str | None
    serving: str | None
    paused: str | None
    skips: list[SkippedEvent]
    quarantined_keys: int
    quarantined: list[WaitingKey]
    tables: list[TableStatus]


class Projections(TypedDict):
    """All projections."""

    projections: list[ProjectionStatus]


class Rebuilt(TypedDict):
    """The table that is built, and the one that answers until it is complete."""

    projection: str
    table: str
    serving: str | None


class Paused(TypedDict):
    """Why it is paused; null: it is not."""

    projection: str
    paused: str | None


class Skipped(TypedDict):
    """The event that is left out, and the rows that were folded anew for that."""

    projection: str
    position: str
    reason: str
    rows: NotRequired[list[RefoldedRow]]


class Dropped(TypedDict):
    """The table that is removed."""

    projection: str
    table: str


class RowOfTable(TypedDict):
    """Where a row was folded anew, and its position now."""

    table: str
    partition: int
    position: str | None


class RowRebuilt(TypedDict):
    """A row that was folded anew, by table."""

    projection: str
    key: str
    rows: list[RowOfTable]


# -- timers -----------------------------------------------------------------------------------------------------


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


# -- journal and schemas ----------------------------------------------------------------------------------------


class SchemaNamed(TypedDict):
    """A schema by its full name, its version and its fingerprint (CRC-64-AVRO)."""

    type: str
    name: str
    version: int
    fingerprint: str


class SchemaList(TypedDict):
    """The schemas that this code knows."""

    schemas: list[SchemaNamed]
