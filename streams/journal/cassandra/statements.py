"""The statements of a journal in Cassandra, by name; `{k}` is the keyspace."""

from __future__ import annotations

from streams.journal.cassandra.rows import COMMIT_COLUMNS, EVENT_COLUMNS
from streams.journal.cassandra.shared_reads import FIRST_EVENTS
from streams.journal.port import Identity

_IDENTITY = ", ".join(Identity.__struct_fields__)
_COMMITS = f"SELECT {COMMIT_COLUMNS} FROM {{k}}.commits WHERE log = ? AND bucket = ?"

COMMITS = f"{_COMMITS} AND nr > ? LIMIT ?"
"""Prepared first: a keyspace with this table holds a journal, which may lack tables of newer versions."""
STATEMENTS = {
    "append": f"INSERT INTO {{k}}.commits (log, bucket, {COMMIT_COLUMNS})"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS",
    "commit": f"{_COMMITS} AND nr = ?",
    "newest": f"{_COMMITS} ORDER BY nr DESC LIMIT 1",
    "any": "SELECT nr FROM {k}.commits WHERE log = ? AND bucket = ? LIMIT 1",
    "bucket": "SELECT bucket FROM {k}.logs WHERE log = ?",
    "save_bucket": "INSERT INTO {k}.logs (log, bucket) VALUES (?, ?)",
    "derive": f"INSERT INTO {{k}}.events (type, id, {EVENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "events": f"SELECT {EVENT_COLUMNS} FROM {{k}}.events"
    " WHERE type = ? AND id = ? AND (sequence, nr, idx) > (?, ?, ?) AND (sequence) <= (?) LIMIT ?",
    "first_events": f"SELECT id, {EVENT_COLUMNS} FROM {{k}}.events WHERE type = ? AND id IN ?"
    f" PER PARTITION LIMIT {FIRST_EVENTS}",
    "snapshots": "SELECT id, sequence, nr, version, state FROM {k}.snapshots WHERE type = ? AND id IN ?",
    "snapshot": "SELECT sequence, nr, version, state FROM {k}.snapshots WHERE type = ? AND id = ?",
    "save_snapshot": "INSERT INTO {k}.snapshots (type, id, sequence, nr, version, state) VALUES (?, ?, ?, ?, ?, ?)",
    "event_ids": "SELECT DISTINCT type, id, token(type, id) FROM {k}.events WHERE token(type, id) > ? LIMIT ?",
    "snapshot_ids": "SELECT type, id, token(type, id) FROM {k}.snapshots WHERE token(type, id) > ? LIMIT ?",
    "remove_event": "DELETE FROM {k}.events WHERE type = ? AND id = ? AND sequence = ? AND nr = ? AND idx = ?",
    "remove_snapshot": "DELETE FROM {k}.snapshots WHERE type = ? AND id = ?",
    "schemas": "SELECT fingerprint, avsc FROM {k}.schemas",
    "save_schema": "INSERT INTO {k}.schemas (fingerprint, avsc) VALUES (?, ?)",
    "published": "SELECT nr, idx FROM {k}.published WHERE log = ?",
    "first_published": "INSERT INTO {k}.published (log, nr, idx) VALUES (?, ?, ?) IF NOT EXISTS",
    "save_published": "UPDATE {k}.published SET nr = ?, idx = ? WHERE log = ? IF nr <= ?",
    "replace_published": "UPDATE {k}.published SET nr = ?, idx = ? WHERE log = ? IF EXISTS",
    "identity": f"SELECT {_IDENTITY} FROM {{k}}.identity WHERE one = 1",
    "claim": f"INSERT INTO {{k}}.identity (one, {_IDENTITY}) VALUES (1, ?, ?, ?, ?, ?) IF NOT EXISTS",
    "layout": "SELECT version, layout FROM {k}.layouts WHERE type = ?",
    "first_layout": "INSERT INTO {k}.layouts (type, version, layout) VALUES (?, ?, ?) IF NOT EXISTS",
    "change_layout": "UPDATE {k}.layouts SET version = ?, layout = ? WHERE type = ? IF version = ?",
}
SERIAL = {"commit", "newest", "identity", "layout"}
"""Read with a round of Paxos: see `journal.py`."""
_OF_PUBLISHED = {"first_published", "save_published", "replace_published"}
CONDITIONAL = {"append", "claim", "first_layout", "change_layout", *_OF_PUBLISHED}
"""Sent once by the driver, which must not repeat them on its own."""
