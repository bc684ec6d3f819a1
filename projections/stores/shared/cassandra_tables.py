"""The tables of a read model in Cassandra, their statements, and the timestamps that order the writes.

The timestamp of a write is made of its position in the log, not of a clock. So Cassandra itself keeps the newest row,
on every replica, and a replay or a late writer cannot overwrite it. Nothing expires. Only entries of rows that have
moved within a listing, and dropped tables, are deleted.
"""

from __future__ import annotations

import struct
from binascii import crc32

from projections.stores.rows import Quarantined

INDEX_BITS = 20
"""Bits of a timestamp for the index in the commit. Cassandra takes no commit of 16 MB, which has fewer events."""
REVISION_BITS = 4
"""Bits of a timestamp for the revision of a row, and for quarantines that differ at one position."""
_RELEASED = 1 << REVISION_BITS - 1
DROP_MARGIN = 1 << 20
"""Commits by which a drop is ahead of the checkpoint: many more than a late writer has in its batch."""
BUCKETS = 16
"""Buckets of the rows of a table in a partition of the events. Each is a partition in Cassandra, which should stay
below 100 MB. The number is fixed: a row is looked for in the bucket of its key."""

TABLES = {
    "places": """
        CREATE TABLE IF NOT EXISTS {keyspace}.places (
            partition   int,
            tbl         text,      -- a projection's name, version and generation; likewise below
            nr          bigint,    -- the last event applied, and the index therein; -1: the table was dropped
            idx         int,
            complete    bigint,
            next_offset bigint,
            base        bigint,    -- what the timestamps of this table begin at; it rises when the table is dropped
            PRIMARY KEY (partition, tbl)
        ) WITH comment = 'How far each table is. Where a place is read, the rows up to it are there.'
          AND compaction = {{'class': 'LeveledCompactionStrategy'}}""",
    "rows": """
        CREATE TABLE IF NOT EXISTS {keyspace}.rows (
            tbl       text,
            partition int,         -- of the events
            bucket    int,         -- CRC-32 of the key, modulo 16
            key       text,
            row       text,        -- two lines of JSON: [position, sequence, revision], and the row, null when removed
            listed    text,        -- JSON: where it is listed, [group, sort] by listing
            PRIMARY KEY ((tbl, partition, bucket), key)
        ) WITH comment = 'Rows of projections. Timestamps are positions: never write here.'
          AND compaction = {{'class': 'LeveledCompactionStrategy'}}""",
    # An entry whose deletion a replica has missed is not shown: its row is not listed there. So deletions need not be
    # remembered for longer than hints are, and groups that many rows pass through stay fast.
    "listings": """
        CREATE TABLE IF NOT EXISTS {keyspace}.listings (
            tbl       text,
            listing   text,
            grp       text,
            sort      text,
            key       text,
            partition int,
            row       text,
            PRIMARY KEY ((tbl, listing, grp), sort, key)
        ) WITH comment = 'Derived from rows: copies by group, sorted. Timestamps are positions: never write here.'
          AND gc_grace_seconds = 10800
          AND compaction = {{'class': 'LeveledCompactionStrategy'}}""",
    "quarantined": """
        CREATE TABLE IF NOT EXISTS {keyspace}.quarantined (
            tbl       text,
            partition int,
            key       text,
            value     text,        -- JSON; without events the key was released
            PRIMARY KEY ((tbl, partition), key)
        ) WITH comment = 'Keys whose events wait, or did. Timestamps are positions: never write here.'
          AND compaction = {{'class': 'LeveledCompactionStrategy'}}""",
}

_PLACE = "nr, idx, complete, next_offset"
_BUCKET = "tbl = ? AND partition = ? AND bucket = ?"
_GROUP = "tbl = ? AND listing = ? AND grp = ?"
_ENTRIES = f"SELECT sort, key, partition, row FROM {{k}}.listings WHERE {_GROUP}"
_QUARANTINED = "{k}.quarantined WHERE tbl = ? AND partition = ?"
_AT = "USING TIMESTAMP ?"

STATEMENTS = {
    "places": f"SELECT tbl, base, {_PLACE} FROM {{k}}.places WHERE partition = ?",
    "save_place": f"INSERT INTO {{k}}.places (partition, tbl, {_PLACE}) VALUES (?, ?, ?, ?, ?, ?) {_AT}",
    "restart": f"INSERT INTO {{k}}.places (partition, tbl, base, {_PLACE}) VALUES (?, ?, ?, ?, -1, 0, 0) {_AT}",
    "load": f"SELECT key, row, listed FROM {{k}}.rows WHERE {_BUCKET} AND key IN ?",
    "save_row": f"INSERT INTO {{k}}.rows (tbl, partition, bucket, key, row, listed) VALUES (?, ?, ?, ?, ?, ?) {_AT}",
    "keys": f"SELECT key, listed FROM {{k}}.rows WHERE {_BUCKET} AND key >= ? LIMIT ?",
    "drop_rows": f"DELETE FROM {{k}}.rows {_AT} WHERE {_BUCKET} AND key >= ? AND key <= ?",
    "list": "INSERT INTO {k}.listings (tbl, listing, grp, sort, key, partition, row)"
    f" VALUES (?, ?, ?, ?, ?, ?, ?) {_AT}",
    "unlist": f"DELETE FROM {{k}}.listings {_AT} WHERE {_GROUP} AND sort = ? AND key = ?",
    "up": f"{_ENTRIES} AND (sort, key) > (?, ?) AND (sort) <= (?) LIMIT ?",
    "down": f"{_ENTRIES} AND (sort) >= (?) AND (sort, key) < (?, ?) ORDER BY sort DESC, key DESC LIMIT ?",
    "quarantined": f"SELECT key, value FROM {_QUARANTINED} AND key >= ? LIMIT ?",
    "known": f"SELECT value, WRITETIME(value) FROM {_QUARANTINED} AND key = ?",
    "quarantine": f"INSERT INTO {{k}}.quarantined (tbl, partition, key, value) VALUES (?, ?, ?, ?) {_AT}",
    "drop_quarantined": "DELETE FROM {k}.quarantined USING TIMESTAMP ? WHERE tbl = ? AND partition = ?",
}

int_ = struct.Struct(">i").pack
bigint = struct.Struct(">q").pack


def bucket_of(key: bytes) -> int:
    """The bucket of a row, by its key in UTF-8."""
    return crc32(key) % BUCKETS


def timestamp(base: int, nr: int, index: int, revision: int = 0) -> int:
    """The timestamp of a write by the position of its event; (0, -1) comes before all events.

    There are 63 bits. 39 are left for the commit numbers of all builds that had the table's name: at 600 commits a
    second in the partition that is enough for 29 years. Raises `ValueError` for an index or a revision that does not
    fit.
    """
    if index + 1 >= 1 << INDEX_BITS:
        raise ValueError(f"commit {nr} has an event {index}: the read model has no timestamp for so many in a commit")
    if revision >= 1 << REVISION_BITS:
        raise ValueError("a row cannot be folded anew so often at one position: build the table anew")
    return base + ((nr << INDEX_BITS) + index + 1 << REVISION_BITS) + revision


def timestamp_of(base: int, quarantined: Quarantined) -> int:
    """The timestamp of the last event that waits; of a released key it is a little later."""
    return timestamp(base, *quarantined.at) + (0 if quarantined.events else _RELEASED)


def revised_quarantine(first: int, present: int, differs: bool) -> int:
    """The timestamp of a quarantine whose own is `first`, where one stands already: just above that, if it is of the
    same position and `differs`. If that is done too often the longer text counts: only the reason differs then."""
    last = first + _RELEASED - 1
    return min(present + differs, last) if first <= present <= last else first


def next_base(base: int, nr: int) -> int:
    """The base of a table after it was dropped, its place then being at commit `nr`."""
    return base + (max(nr, 0) + DROP_MARGIN << INDEX_BITS + REVISION_BITS)
