"""Rows of the journal's tables to values and back, and the batches of derived rows."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from typing import Any

from cassandra.query import UNSET_VALUE, BoundStatement

from streams.journal.cassandra.session import Row
from streams.journal.commit_codec import commit_from, event_from
from streams.journal.port import Commit, StoredEvent, log_type
from streams.moments import milliseconds

COMMIT_COLUMNS = "nr, epoch, owner, topic_id, indexed_nr, recorded_at, payload"
EVENT_COLUMNS = (
    "sequence, nr, idx, event, data, command_id, correlation_id, traceparent, command, principal, recorded_at"
)

BATCH_ROWS = 64
BATCH_BYTES = 20 * 1024
"""The most of one batch of derived rows; 64 usual rows take 20 KB. A batch by itself costs a worker as much as 20 rows.
By default Cassandra refuses a batch of 50 KB."""

_ROW_OVERHEAD = 120
_int = struct.Struct(">i").pack
_bigint = struct.Struct(">q").pack


def commit_of(log: str, row: Row) -> Commit:
    """A commit from its `COMMIT_COLUMNS`."""
    return commit_from(log, row, row[-2].replace(tzinfo=UTC))


def event_of(aggregate_id: str, row: Row) -> StoredEvent:
    """An event from its `EVENT_COLUMNS`."""
    return event_from(aggregate_id, row, row[-1].replace(tzinfo=UTC))


def event_rows(prepared: Any, commits: Iterable[Commit]) -> Iterator[tuple[int, BoundStatement]]:
    """The derived rows, each with its approximate size: (type, id, `EVENT_COLUMNS`).

    The values are encoded here: the driver's own `bind` takes longer than all the rest together.
    """
    for commit in commits:
        type, nr = log_type(commit.log).encode(), _bigint(commit.nr)
        recorded_at = _bigint(milliseconds(commit.recorded_at))
        for index, event in enumerate(commit.events):
            row = BoundStatement(prepared)
            row.values = [
                type,
                event.aggregate_id.encode(),
                _bigint(event.sequence),
                nr,
                _int(index),
                event.type.encode() if event.type else UNSET_VALUE,  # unset, not null: that would be a tombstone
                event.data or UNSET_VALUE,
                event.command_id.encode(),
                event.correlation_id.encode() if event.correlation_id else UNSET_VALUE,
                event.traceparent.encode() if event.traceparent else UNSET_VALUE,
                event.command.encode() if event.command else UNSET_VALUE,
                event.principal.encode() if event.principal else UNSET_VALUE,
                recorded_at,
            ]
            yield _ROW_OVERHEAD + event.size, row


def batches(
    rows: Iterable[tuple[int, BoundStatement]],
    replica_of: Callable[[BoundStatement], object],
    most_rows: int = BATCH_ROWS,
    most_bytes: int = BATCH_BYTES,
) -> Iterator[list[BoundStatement]]:
    """Batches of rows of one replica (or partition), within these bounds; a row that is larger goes alone."""
    open_batches: dict[object, tuple[int, list[BoundStatement]]] = defaultdict(lambda: (0, []))
    for size, row in rows:
        replica = replica_of(row)
        total, batch = open_batches[replica]
        if batch and (len(batch) == most_rows or total + size > most_bytes):
            yield batch
            total, batch = 0, []
        batch.append(row)
        open_batches[replica] = (total + size, batch)
    for _, batch in open_batches.values():
        yield batch
