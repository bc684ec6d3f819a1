"""The journal port: fenced logs, and what is derived from them.

A log is named `<type>@<number>`. It holds the commits of some slices of its type; a slice is what Kafka calls a
partition of the type's topics: the place of a key, for ever. Which log has which slices is said by the `Layout` of the
type (`layout.py`). `memory.py` is the readable specification; every implementation passes `tests/contract`.

The port is split by its users. An owner appends to the `Log`, loads `Aggregates` and writes what is `Derived`; decoding
needs `StoredSchemas`; a tailer reads the `Log` and keeps its place in the `Catalog`; `journal verify` needs
`Maintenance` too. A `Journal` is all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from streams.journal.layout import Layout

LAST_SEQUENCE = 2**63 - 1
"""Behind all there can be."""
ROW_BYTES = 16
"""Of a row, beside its texts and its data."""
NOTHING_CONSUMED = -1
"""The offset of a slice of which no command is covered yet."""
PAGE_BYTES = 4 * 1024 * 1024
"""About the most that is read at once, where rows have any size."""
FIRST_PAGE = 16
"""Rows of a first page, while their size is not known."""
MOST_ROWS = 5_000
"""Rows of a page, at most."""


class Fenced(Exception):
    """Another owner has written where this one was about to: ownership is lost."""

    @classmethod
    def by(cls, present: Commit, wanted: Commit) -> Fenced:
        """The place of `wanted` is taken by `present`."""
        return cls(
            f"{wanted.log} nr {wanted.nr} was written by {present.owner} in epoch {present.epoch},"
            f" not by {wanted.owner} in epoch {wanted.epoch}"
        )


class Unavailable(Exception):
    """The store did not answer, or not in time. What was asked may or may not have happened; ask again."""


class NotPermitted(Unavailable):
    """The user of the store may not do this. A start ends with it; later it is waited out, as an outage is: an
    administrator can end it."""


class JournalMissing(Exception):
    """The keyspace, schema or tables do not exist; the message says which command makes them."""


class JournalIncomplete(JournalMissing):
    """Tables are there, and what came with a newer version is not: other tables, or columns of these."""


class RecordedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of one aggregate as the journal keeps it, or a note of the engine's own beside the events.

    `sequence` is the aggregate's own number, from 1, dense. `data` is the event in Avro single-object
    encoding. A note repeats the aggregate's sequence (0 when it has none yet) and is never published. It has
    an empty `type` when it remembers the id of an accepted command that had no event; the types of all other
    notes begin with `#`, which no event's can. The last row that an accepted command causes says in `command` which it
    was: `<type> <digest of its data>`. `principal` is who has sent the command, as `Principal.text` has it.
    """

    aggregate_id: str
    sequence: int
    type: str
    data: bytes
    command_id: str
    correlation_id: str = ""
    traceparent: str = ""
    command: str = ""
    principal: str = ""

    @property
    def size(self) -> int:
        """About the bytes that it takes."""
        ids = self.aggregate_id + self.command_id + self.correlation_id + self.traceparent + self.principal
        texts = len(ids if ids.isascii() else ids.encode()) + len(self.type) + len(self.command)
        return ROW_BYTES + texts + len(self.data)

    @property
    def is_event(self) -> bool:
        """Whether it is an event of the domain, not a note of the engine's own."""
        return self.type[:1] not in ("", "#")


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """A recorded event as read by aggregate: with its place in the log, commit `nr` and `index` therein."""

    event: RecordedEvent
    nr: int
    index: int
    recorded_at: datetime


class SliceHead(msgspec.Struct, frozen=True, gc=False):
    """How far a slice is with a commit of its log.

    offset         the last command offset that is covered by this commit and those before
    eventful_nr    the newest commit up to and including this one that holds an event of the slice, or 0
    """

    offset: int = NOTHING_CONSUMED
    eventful_nr: int = 0


class Commit(msgspec.Struct, frozen=True):
    """One row of a log: everything that a group of commands has caused, atomically.

    nr             dense within the log, from the number on with which the layout has it begin; never changed
    epoch, owner   who wrote it; the epoch rises by one with each change of hands
    topic_id       the incarnation of the command topic that the offsets belong to
    slices         how far each slice of the log is
    derived_nr     all commits up to this one are known to be in the derived tables (the column is `indexed_nr`)
    recorded_at    wall clock of the owner (UTC), kept to the millisecond; nothing is decided by it
    events         in order; the index of an event is its place in this tuple
    is_seal        whether it is the last one of its log, whose slices go on in others
    """

    log: str
    nr: int
    epoch: int
    owner: str
    topic_id: str
    slices: Mapping[int, SliceHead]
    derived_nr: int
    recorded_at: datetime
    events: tuple[RecordedEvent, ...] = ()
    is_seal: bool = False

    @property
    def eventful_nr(self) -> int:
        """The newest commit of the log up to and including this one that holds an event, or 0."""
        return max((head.eventful_nr for head in self.slices.values()), default=0)

    def same_as(self, other: Commit) -> bool:
        """Whether `other` is an attempt to write this very commit. What it says of others (`derived_nr`, the
        `eventful_nr` of slices) and its time are not compared."""
        return self._written() == other._written()

    def _written(self) -> tuple[object, ...]:
        offsets = {slice: head.offset for slice, head in self.slices.items()}
        return self.log, self.nr, self.epoch, self.owner, self.topic_id, offsets, self.events, self.is_seal


class Snapshot(msgspec.Struct, frozen=True):
    """The state of an aggregate after commit `nr`, when its sequence was `sequence`.

    `state` holds the encoded state and the command ids remembered; only code that knows `version` reads it.
    """

    aggregate_id: str
    sequence: int
    nr: int
    version: int
    state: bytes


class Published(msgspec.Struct, frozen=True):
    """How far a log was published: up to event `index` of commit `nr` (-1: only the commits before)."""

    nr: int
    index: int


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whose journal it is, written once by the first that starts with it.

    context, namespace   exactly as they are set: the names of keyspaces, schemas and files tell less apart
    partitions           of the topics, which are the slices: a key belongs to one by their number
    cluster              the id of the Kafka cluster whose topics its offsets and positions are of
    format               of the journal, so that an older version leaves a newer one alone
    """

    context: str
    namespace: str
    partitions: int
    cluster: str
    format: int = 2


class Log(Protocol):
    """The commits of each log: the truth, from which all else can be made again."""

    is_transactional: bool
    """Whether an append derives as well. Where it does not, `derive` and `save_snapshots` are to follow."""

    async def head(self, log: str, after: int = 0) -> Commit | None:
        """The newest commit of a log that begins behind the number `after`, linearizable.

        An append that has succeeded before this call is seen. One whose outcome is open is seen, or settled by the
        append that follows at its place. None for an empty log."""

    async def append(self, commit: Commit, snapshots: Sequence[Snapshot] = ()) -> None:
        """Write `commit` if nothing stands at its `nr`; its caller knows that `nr - 1` exists, or that the layout has
        the log begin here.

        Atomic and durable on return. Raises `Fenced` when another owner or epoch has that nr. Raises
        `Unavailable` when the outcome is unknown: then the very same commit is to be appended again,
        which succeeds when the first attempt had succeeded. It never stands in the log twice.

        A transactional journal writes the rows by aggregate and the `snapshots`, which hold the states after this
        commit, in the same transaction. Any other one leaves them out.
        """

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        """Up to `limit` commits with nr > `after`, ascending and without a gap: it ends early rather than
        leave one out. Fewer than `limit`, even none, does not mean the end; `head` does not lie before them."""

    async def layout(self, type: str) -> Layout | None:
        """Which logs the type has, and with which slices; None where nobody has said it yet. Linearizable."""

    async def change_layout(self, type: str, layout: Layout) -> Layout:
        """Write a layout if the one that is there has the version before, or, for version 1, none is there. Returns
        it, or the one that is there instead: of many changes that race one wins. Raises `Unavailable`; ask again then,
        and what is there by then may be one that followed."""


class StoredSchemas(Protocol):
    """The schemas that a journal's events are read by."""

    async def schemas(self) -> Mapping[str, str]:
        """All schemas by fingerprint: a reader who has only the journal can read it with them."""


class Aggregates(StoredSchemas, Protocol):
    """An aggregate is loaded from this: its derived rows, and the schemas of its events."""

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        """The derived events of an aggregate with a sequence from one to another, both included, by (sequence, nr,
        index)."""

    async def snapshot(self, type: str, aggregate_id: str) -> Snapshot | None:
        """The last snapshot saved."""


class Derived(Protocol):
    """The rows by aggregate are written here, behind the log."""

    async def derive(self, commits: Sequence[Commit]) -> None:
        """Write the rows by aggregate of these commits of one log. Idempotent; in any order."""

    async def save_snapshots(self, type: str, snapshots: Sequence[Snapshot]) -> None:
        """Keep these in the place of older ones of the same aggregates."""


class Catalog(StoredSchemas, Protocol):
    """Beside the logs: schemas, and how far each was published."""

    async def save_schemas(self, schemas: Mapping[str, str]) -> None:
        """Keep Avro schemas (JSON) by fingerprint (CRC-64-AVRO, 16 hex digits)."""

    async def published(self, log: str) -> Published | None:
        """How far the tail said that it had published, in all slices; the events topic itself may be further."""

    async def save_published(self, log: str, published: Published) -> None:
        """Remember how far a log was published, unless a later commit is remembered: a write that comes late, of a tail
        that is gone too, takes nothing back."""


class Maintenance(Protocol):
    """Comparing the derived rows with the log, and their repair: nothing else ever removes a row."""

    def aggregate_ids(self, type: str) -> AsyncIterator[str]:
        """The ids of all aggregates that have derived rows or a snapshot, each once, in no order."""

    async def remove_events(self, type: str, rows: Sequence[StoredEvent]) -> None:
        """Remove derived rows that the log does not have."""

    async def replace_published(self, log: str, published: Published) -> None:
        """Remember how far a log was published, whatever is remembered."""

    async def remove_snapshot(self, type: str, aggregate_id: str) -> None:
        """Remove a snapshot that the log contradicts; loading is slower until there is a new one."""


class Journal(Log, Aggregates, Derived, Catalog, Maintenance, Protocol):
    """Everything a store must do. All methods may raise `Unavailable`; all but `append` are idempotent or reads.

    `type` is the aggregate type, which is also the part of a log's name before its last `@`.
    """

    async def create(self) -> None:
        """Make keyspace (or schema) and tables where they are missing. Safe to repeat and to race."""

    async def open(self) -> None:
        """Connect. Raises `JournalMissing` when `create` has not been called, `JournalIncomplete` when only by an
        older version, `SettingsError` when that one wrote commits which this one cannot read."""

    async def close(self) -> None:
        """Let go of all connections."""

    async def identity(self) -> Identity | None:
        """Whose it is; None where nobody has claimed it yet. Linearizable."""

    async def claim(self, identity: Identity) -> Identity:
        """Make it that of `identity` unless it is somebody's already. Returns whose it is now: of many claims that
        race one wins."""


def next_page(size: int, rows: int) -> int:
    """Rows to request next so that a page is about `PAGE_BYTES`, given that `rows` rows took `size` bytes."""
    return max(1, min(MOST_ROWS, PAGE_BYTES * rows // (size or 1)))


def log_name(type: str, number: int) -> str:
    """The name of a log of a type."""
    return f"{type}@{number}"


def log_type(log: str) -> str:
    """The aggregate type of a log."""
    return log.rpartition("@")[0]


def log_number(log: str) -> int:
    """The number of a log."""
    return int(log.rpartition("@")[2])
