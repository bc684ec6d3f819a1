"""The tables of a journal in SQL, the same in SQLite and PostgreSQL, and their rows to values and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Integer, LargeBinary, MetaData, Table, Text, TypeDecorator, tuple_

from streams.journal.commit_codec import commit_from, encode_payload, event_from
from streams.journal.port import Commit, Snapshot, StoredEvent, log_type
from streams.journal.sql.session import SqlAddress
from streams.moments import milliseconds, moment

Values = dict[str, Any]


def as_stored(text: str) -> str:
    """A text in the form of a column of `AnyText`."""
    return text.replace("\\", "\\\\").replace("\0", "\\0")


class AnyText(TypeDecorator[str]):
    """Text in which every character may stand. PostgreSQL takes no NUL: it is stored as `\\0`, and `\\` as `\\\\`."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        # By bytes: the order is that of the index, whatever the language of the database.
        return dialect.type_descriptor(Text(collation="C" if dialect.name == "postgresql" else None))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return as_stored(value) if value else value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return re.sub(r"\\(.)", lambda escaped: "\0" if escaped[1] == "0" else escaped[1], value) if value else value


def key_column(name: str, type: Any) -> Column[Any]:
    """A column of the primary key."""
    return Column(name, type, primary_key=True, autoincrement=False)


def value_column(name: str, type: Any) -> Column[Any]:
    """A column that always has a value."""
    return Column(name, type, nullable=False)


def upsert(address: SqlAddress, table: Table, newest_by: Sequence[str] = ()) -> Any:
    """Writes a row in the place of the one with the same key, unless that one is newer by these columns."""
    insert = address.insert(table)
    values = {column.name: insert.excluded[column.name] for column in table.c if not column.primary_key}
    older = tuple_(*(table.c[name] for name in newest_by)) <= tuple_(*(insert.excluded[name] for name in newest_by))
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=values, where=older if newest_by else None
    )


TABLES = MetaData()

IDENTITY = Table(
    "identity",
    TABLES,
    key_column("one", Integer),
    value_column("context", AnyText),
    value_column("namespace", AnyText),
    value_column("partitions", Integer),
    value_column("cluster", AnyText),
    value_column("format", Integer),
    comment="Whose journal this is: one row, written once, held against the settings at every start.",
)
COMMITS = Table(
    "commits",
    TABLES,
    key_column("log", AnyText),
    key_column("nr", BigInteger),
    value_column("epoch", BigInteger),
    value_column("owner", AnyText),
    value_column("topic_id", AnyText),
    value_column("indexed_nr", BigInteger),
    value_column("recorded_at", BigInteger),  # milliseconds since 1970 UTC, here and below
    value_column("payload", LargeBinary),
    comment="THE LOG, the only truth: append-only. Never write, delete or expire rows here."
    " payload: Avro single-object encoding, its schema is in the table schemas.",
)
EVENTS = Table(
    "events",
    TABLES,
    key_column("type", AnyText),
    key_column("id", AnyText),
    key_column("sequence", BigInteger),
    key_column("nr", BigInteger),
    key_column("idx", Integer),
    value_column("event", AnyText),
    value_column("data", LargeBinary),
    value_column("command_id", AnyText),
    value_column("correlation_id", AnyText),
    value_column("traceparent", AnyText),
    Column("command", AnyText, nullable=False, server_default=""),  # of the last row of each command
    Column("principal", AnyText, nullable=False, server_default=""),  # who has sent it
    value_column("recorded_at", BigInteger),
    comment="Derived from commits: the events of an aggregate. Without event: a command that had none.",
    sqlite_with_rowid=False,  # the rows stand in the index, in the order in which they are read
)
SNAPSHOTS = Table(
    "snapshots",
    TABLES,
    key_column("type", AnyText),
    key_column("id", AnyText),
    value_column("sequence", BigInteger),
    value_column("nr", BigInteger),
    value_column("version", Integer),
    value_column("state", LargeBinary),
    comment="Derived: the state of an aggregate after commit nr. May be emptied, loading is slower then.",
)
SCHEMAS = Table(
    "schemas",
    TABLES,
    key_column("fingerprint", AnyText),
    value_column("avsc", AnyText),
    comment="Avro schemas of payloads and events, by the CRC-64-AVRO fingerprint in their header.",
)
LAYOUTS = Table(
    "layouts",
    TABLES,
    key_column("type", AnyText),
    value_column("version", BigInteger),
    value_column("layout", AnyText),
    comment="Which logs a type has, with which slices, as JSON.",
)
PUBLISHED = Table(
    "published",
    TABLES,
    key_column("log", AnyText),
    value_column("nr", BigInteger),
    value_column("idx", Integer),
    comment="How far the events of a log were published, in case the topic does not say it.",
)

COMMIT_COLUMNS = tuple(column for column in COMMITS.c if column.name != "log")
EVENT_COLUMNS = tuple(column for column in EVENTS.c if column.name not in ("type", "id"))


def commit_values(commit: Commit) -> Values:
    """A commit as a row."""
    return {
        "log": commit.log,
        "nr": commit.nr,
        "epoch": commit.epoch,
        "owner": commit.owner,
        "topic_id": commit.topic_id,
        "indexed_nr": commit.derived_nr,
        "recorded_at": milliseconds(commit.recorded_at),
        "payload": encode_payload(commit.slices, commit.events, commit.is_seal),
    }


def commit_of(log: str, row: Sequence[Any]) -> Commit:
    """A commit from its `COMMIT_COLUMNS`."""
    return commit_from(log, row, moment(row[-2]))


def event_values(commits: Iterable[Commit]) -> list[Values]:
    """The derived rows, sorted by primary key, so that two writers lock them in the same order and cannot deadlock."""
    rows = [
        {
            "type": log_type(commit.log),
            "id": event.aggregate_id,
            "sequence": event.sequence,
            "nr": commit.nr,
            "idx": index,
            "event": event.type,
            "data": event.data,
            "command_id": event.command_id,
            "correlation_id": event.correlation_id,
            "traceparent": event.traceparent,
            "command": event.command,
            "principal": event.principal,
            "recorded_at": milliseconds(commit.recorded_at),
        }
        for commit in commits
        for index, event in enumerate(commit.events)
    ]
    return sorted(rows, key=lambda row: (row["id"], row["sequence"], row["nr"], row["idx"]))


def event_of(aggregate_id: str, row: Sequence[Any]) -> StoredEvent:
    """An event from its `EVENT_COLUMNS`."""
    return event_from(aggregate_id, row, moment(row[-1]))


_SNAPSHOT_VALUES = ("sequence", "nr", "version", "state")


def snapshot_values(type: str, snapshots: Sequence[Snapshot]) -> list[Values]:
    """Snapshots as rows, the last one of each aggregate, in the order of their key."""
    newest = {snapshot.aggregate_id: snapshot for snapshot in snapshots}
    return [
        {"type": type, "id": id, **{name: getattr(snapshot, name) for name in _SNAPSHOT_VALUES}}
        for id, snapshot in sorted(newest.items())
    ]
