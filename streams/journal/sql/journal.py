"""The journal in SQLite or PostgreSQL. Tables: `tables.py`; connections: `session.py`.

The fence is the primary key of `commits`, (log, nr). One transaction inserts the commit where nothing stands, and
writes the rows by aggregate and the snapshots. What an append knows when its answer is lost, and why asking again
settles it:

The transaction was committed, was rolled back, or is still under way: in PostgreSQL, whose server may work on for a
client that is gone, or in the thread of a cancelled request. The same append is sent again, in a new transaction. If
the first was committed, the row is found and it is ours. If it was rolled back, the insert succeeds. If it is under way
it holds the key, and the insert waits for it to become one of the two (in SQLite it holds the whole file). A wait that
takes too long ends in `Unavailable`, and nothing is decided yet. A new owner's append at that nr goes the same way:
either the old owner's transaction or the new one's gets the key. One that sits in a queue and starts after all this
finds the row there, since rows are never deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Delete, Select, Table, bindparam, delete, func, select, tuple_, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streams.journal.commit_codec import COMMIT_SCHEMAS
from streams.journal.identity import of_older_format
from streams.journal.layout import Layout
from streams.journal.port import (
    FIRST_PAGE,
    LAST_SEQUENCE,
    PAGE_BYTES,
    Commit,
    Fenced,
    Identity,
    JournalIncomplete,
    JournalMissing,
    Published,
    Snapshot,
    StoredEvent,
    log_type,
    next_page,
)
from streams.journal.sql.session import SqlAddress, SqlSession
from streams.journal.sql.tables import (
    COMMIT_COLUMNS,
    COMMITS,
    EVENT_COLUMNS,
    EVENTS,
    IDENTITY,
    LAYOUTS,
    PUBLISHED,
    SCHEMAS,
    SNAPSHOTS,
    TABLES,
    Values,
    commit_of,
    commit_values,
    event_of,
    event_values,
    snapshot_values,
    upsert,
)

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 1000, 1024 * 1024
"""The most of one statement, so that it ends in time and lets other transactions in between."""
_FIRST_EVENTS = 200

_COMMITS_OF = select(*COMMIT_COLUMNS).where(COMMITS.c.log == bindparam("of"))
_HEAD = _COMMITS_OF.order_by(COMMITS.c.nr.desc()).limit(1)
_COMMIT = _COMMITS_OF.where(COMMITS.c.nr == bindparam("at"))
_COMMITS_AFTER = _COMMITS_OF.where(COMMITS.c.nr > bindparam("after")).order_by(COMMITS.c.nr).limit(bindparam("most"))
_EVENT_PLACE = (EVENTS.c.sequence, EVENTS.c.nr, EVENTS.c.idx)
_EVENTS_AFTER = (
    select(*EVENT_COLUMNS)
    .where(EVENTS.c.type == bindparam("of"), EVENTS.c.id == bindparam("aggregate"))
    .where(tuple_(*_EVENT_PLACE) > tuple_(bindparam("sequence"), bindparam("nr"), bindparam("idx")))
    .where(EVENTS.c.sequence <= bindparam("last"))
    .order_by(*_EVENT_PLACE)
    .limit(bindparam("most"))
)
_SNAPSHOT = select(SNAPSHOTS.c.sequence, SNAPSHOTS.c.nr, SNAPSHOTS.c.version, SNAPSHOTS.c.state).where(
    SNAPSHOTS.c.type == bindparam("of"), SNAPSHOTS.c.id == bindparam("aggregate")
)
_IDENTITY = select(*(IDENTITY.c[name] for name in Identity.__struct_fields__))
_LAYOUT = select(LAYOUTS.c.layout).where(LAYOUTS.c.type == bindparam("of"))
_CHANGE_LAYOUT = (
    update(LAYOUTS)
    .where(LAYOUTS.c.type == bindparam("of"), LAYOUTS.c.version == bindparam("before"))
    .values(version=bindparam("_version"), layout=bindparam("_layout"))
)
_PUBLISHED = select(PUBLISHED.c.nr, PUBLISHED.c.idx).where(PUBLISHED.c.log == bindparam("of"))


def _remove(table: Table) -> Delete:
    """The parameters are named `_<column>`."""
    return delete(table).where(*(column == bindparam(f"_{column.name}") for column in table.primary_key))


_REMOVE_EVENT, _REMOVE_SNAPSHOT = _remove(EVENTS), _remove(SNAPSHOTS)
_KEY_OF_EVENT = [f"_{column.name}" for column in EVENTS.primary_key]


def _ids(table: Table) -> Select[Any]:
    """The ids of one type after one, in order, each once: a look into the index for each, however many rows it has."""

    def following(after: Any) -> Select[Any]:
        return select(func.min(table.c.id).label("id")).where(table.c.type == bindparam("of"), table.c.id > after)

    ids = following(bindparam("after")).cte(f"{table.name}_ids", recursive=True)
    ids = ids.union_all(select(following(ids.c.id).scalar_subquery()).where(ids.c.id.is_not(None)))
    return select(select(ids.c.id).where(ids.c.id.is_not(None)).limit(_ROWS_AT_ONCE).subquery().c.id)


_AGGREGATE_IDS = union(_ids(EVENTS), _ids(SNAPSHOTS)).order_by("id").limit(_ROWS_AT_ONCE)


class SqlJournal:
    """A `Journal` in one file or schema."""

    is_transactional = True

    def __init__(self, address: SqlAddress) -> None:
        self._session = SqlSession(address, TABLES)
        self._append = address.insert(COMMITS).on_conflict_do_nothing()
        self._first_layout = address.insert(LAYOUTS).on_conflict_do_nothing()
        self._claim = address.insert(IDENTITY).on_conflict_do_nothing()
        self._upserts = {table: upsert(address, table) for table in (EVENTS, SNAPSHOTS, SCHEMAS, PUBLISHED)}
        self._save_published = upsert(address, PUBLISHED, newest_by=["nr"])

    async def create(self) -> None:
        await self._session.create_tables()

    async def open(self) -> None:
        self._session.connect()
        try:
            try:
                await self._session.rows(select(COMMITS).limit(0))
            except JournalIncomplete:
                address = self._session.address
                raise of_older_format(f"the journal in {address}", address.setting) from None
            for table in TABLES.sorted_tables:
                try:
                    await self._session.rows(select(table).limit(0))
                except JournalMissing as error:
                    raise JournalIncomplete(str(error)) from None
            await self.save_schemas(COMMIT_SCHEMAS)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._session.close()

    async def identity(self) -> Identity | None:
        rows = await self._session.rows(_IDENTITY)
        return Identity(**rows[0]._mapping) if rows else None

    async def claim(self, identity: Identity) -> Identity:
        if (present := await self.identity()) is not None:  # who may only read asks as well
            return present
        row = {"one": 1, **msgspec.structs.asdict(identity)}

        async def claim(connection: AsyncConnection) -> Identity:
            await connection.execute(self._claim, row)
            return Identity(**(await connection.execute(_IDENTITY)).one()._mapping)

        return await self._session.transaction(claim)

    async def layout(self, type: str) -> Layout | None:
        rows = await self._session.rows(_LAYOUT, {"of": type})
        return msgspec.json.decode(rows[0].layout, type=Layout) if rows else None

    async def change_layout(self, type: str, layout: Layout) -> Layout:
        row = {"type": type, "version": layout.version, "layout": msgspec.json.encode(layout).decode()}

        async def change(connection: AsyncConnection) -> Layout:
            if layout.version == 1:
                await connection.execute(self._first_layout, row)
            else:
                values = {
                    "of": type,
                    "before": layout.version - 1,
                    "_version": layout.version,
                    "_layout": row["layout"],
                }
                await connection.execute(_CHANGE_LAYOUT, values)
            found = (await connection.execute(_LAYOUT, {"of": type})).one()
            return msgspec.json.decode(found.layout, type=Layout)

        return await self._session.transaction(change)

    async def append(self, commit: Commit, snapshots: Sequence[Snapshot] = ()) -> None:
        # All rows are made before the transaction begins, so that its locks are short.
        row, events = commit_values(commit), event_values([commit])
        states = snapshot_values(log_type(commit.log), snapshots)

        async def write(connection: AsyncConnection) -> None:
            inserted = await connection.execute(self._append, row)
            if inserted.rowcount == 0:
                result = await connection.execute(_COMMIT, {"of": commit.log, "at": commit.nr})
                if not (present := commit_of(commit.log, result.one())).same_as(commit):
                    raise Fenced.by(present, commit)
                return
            for chunk in _chunks(events):
                await connection.execute(self._upserts[EVENTS], chunk)
            for chunk in _chunks(states):
                await connection.execute(self._upserts[SNAPSHOTS], chunk)

        await self._session.transaction(write)

    async def head(self, log: str, after: int = 0) -> Commit | None:
        rows = await self._session.rows(_HEAD, {"of": log})
        return commit_of(log, rows[0]) if rows else None

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        commits: list[Commit] = []
        size, page = 0, FIRST_PAGE
        while len(commits) < limit and size < PAGE_BYTES:
            page = min(page, limit - len(commits))
            rows = await self._session.rows(_COMMITS_AFTER, {"of": log, "after": after, "most": page})
            for row in rows:
                if row.nr != after + 1:  # somebody has deleted what stood between
                    return commits
                after += 1
                size += len(row.payload)
                commits.append(commit_of(log, row))
            if len(rows) < page:
                break
            page = next_page(size, len(commits))
        return commits

    async def derive(self, commits: Sequence[Commit]) -> None:
        await self._each(self._upserts[EVENTS], event_values(commits))

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        events: list[StoredEvent] = []
        size, page = 0, _FIRST_EVENTS
        place: Values = {"sequence": from_sequence, "nr": -1, "idx": -1}
        while True:
            rows = await self._session.rows(
                _EVENTS_AFTER, {"of": type, "aggregate": aggregate_id, **place, "last": to_sequence, "most": page}
            )
            events += [event_of(aggregate_id, row) for row in rows]
            if len(rows) < page:
                return events
            place = {"sequence": rows[-1].sequence, "nr": rows[-1].nr, "idx": rows[-1].idx}
            size += sum(100 + len(row.data) for row in rows)
            page = next_page(size, len(events))

    async def snapshot(self, type: str, aggregate_id: str) -> Snapshot | None:
        rows = await self._session.rows(_SNAPSHOT, {"of": type, "aggregate": aggregate_id})
        return Snapshot(aggregate_id, *rows[0]) if rows else None

    async def save_snapshots(self, type: str, snapshots: Sequence[Snapshot]) -> None:
        await self._each(self._upserts[SNAPSHOTS], snapshot_values(type, snapshots))

    async def aggregate_ids(self, type: str) -> AsyncIterator[str]:
        after, more = "", True
        while more:
            rows = await self._session.rows(_AGGREGATE_IDS, {"of": type, "after": after})
            for (after,) in rows:
                yield after
            more = len(rows) == _ROWS_AT_ONCE

    async def remove_events(self, type: str, rows: Sequence[StoredEvent]) -> None:
        keys = [(type, row.event.aggregate_id, row.event.sequence, row.nr, row.index) for row in rows]
        await self._each(_REMOVE_EVENT, [dict(zip(_KEY_OF_EVENT, key, strict=True)) for key in keys])

    async def replace_published(self, log: str, published: Published) -> None:
        await self._each(self._upserts[PUBLISHED], [_published_values(log, published)])

    async def remove_snapshot(self, type: str, aggregate_id: str) -> None:
        await self._each(_REMOVE_SNAPSHOT, [{"_type": type, "_id": aggregate_id}])

    async def save_schemas(self, schemas: Mapping[str, str]) -> None:
        missing = schemas.keys() - (await self.schemas()).keys()  # who may only read has none to add
        rows = [{"fingerprint": fingerprint, "avsc": schemas[fingerprint]} for fingerprint in sorted(missing)]
        await self._each(self._upserts[SCHEMAS], rows)

    async def schemas(self) -> Mapping[str, str]:
        return {row.fingerprint: row.avsc for row in await self._session.rows(select(SCHEMAS))}

    async def published(self, log: str) -> Published | None:
        rows = await self._session.rows(_PUBLISHED, {"of": log})
        return Published(*rows[0]) if rows else None

    async def save_published(self, log: str, published: Published) -> None:
        await self._each(self._save_published, [_published_values(log, published)])

    async def _each(self, statement: Any, rows: Sequence[Values]) -> None:
        """Execute the statement with each of these rows, in as many transactions as it takes."""
        for chunk in _chunks(rows):

            async def execute(connection: AsyncConnection, chunk: Sequence[Values] = chunk) -> None:
                await connection.execute(statement, chunk)

            await self._session.transaction(execute)


def _published_values(log: str, published: Published) -> Values:
    return {"log": log, "nr": published.nr, "idx": published.index}


def _chunks(rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
    chunk: list[Values] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, bytes))
        if len(chunk) == _ROWS_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
