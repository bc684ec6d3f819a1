"""The journal in Cassandra. Tables: `tables.py`; connection: `session.py`; errors: `errors.py`.

The fence is a conditional insert: a Paxos round among the replicas of one partition, `(log, bucket)`. What an
append knows when its answer is lost, and why asking again settles it:

The round was cut short somewhere between "no replica has heard of it" and "all have it", and a proposal that only some
replicas have accepted may still be finished by anybody. The same insert is sent again, and it is a round with a higher
ballot. Before it looks at the row, that round has a majority promise to refuse older ballots, and finishes a proposal
that it finds accepted. So when it reads the row, the first attempt has either become the row, for good, or can never
become it: a majority will not accept its ballot any more. Hence three outcomes, all final: the insert applies (the
first attempt had come to nothing); the row is there and is ours (the first attempt, or the driver's resend, had won);
the row is another's (fenced). If the first request itself lies in some queue and starts only after all this, it finds
the row there and does nothing, since rows are never deleted. A SERIAL read is such a round as well, without the
insert: that is why `head` settles what a dead owner has left open, before the new one counts on it.

Paxos here is LOCAL_SERIAL, among the replicas of one data center: all workers must name the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import msgspec
from cassandra.query import BoundStatement

from streams.concurrency.tasks import all_done
from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.rows import batches, commit_of, event_of, event_rows
from streams.journal.cassandra.session import CassandraSession
from streams.journal.cassandra.setup import make_keyspace
from streams.journal.cassandra.shared_reads import FIRST_EVENTS, SharedReads
from streams.journal.cassandra.statements import COMMITS, CONDITIONAL, SERIAL, STATEMENTS
from streams.journal.cassandra.tables import ADDED, COMMITS_PER_BUCKET, TABLES
from streams.journal.commit_codec import COMMIT_SCHEMAS, encode_payload
from streams.journal.identity import of_older_format
from streams.journal.layout import Layout
from streams.journal.port import (
    FIRST_PAGE,
    LAST_SEQUENCE,
    MOST_ROWS,
    PAGE_BYTES,
    Commit,
    Fenced,
    Identity,
    JournalIncomplete,
    JournalMissing,
    Published,
    Snapshot,
    StoredEvent,
    Unavailable,
    next_page,
)

_STATEMENTS_IN_FLIGHT = 16
_FIRST_PAGE = 200
_IDS_AT_ONCE = 1000
_FIRST_TOKEN = -(2**63)
"""No partition has this one: Murmur3 tokens begin after it."""


class CassandraJournal:
    """A `Journal` in one keyspace."""

    is_transactional = False

    def __init__(self, address: CassandraAddress, keyspace: str) -> None:
        self._keyspace = keyspace
        self._address = address
        self._session = CassandraSession(address)
        self._in_flight = asyncio.Semaphore(_STATEMENTS_IN_FLIGHT)
        self._first_events = SharedReads(self._session, "first_events", alike="snapshot")
        self._snapshots = SharedReads(self._session, "snapshots", alike="snapshot")

    async def create(self) -> None:
        await make_keyspace(self._address, self._keyspace, [*TABLES.values(), *ADDED])

    async def open(self) -> None:
        await self._session.connect()
        try:
            try:
                await self._session.prepare_all(self._keyspace, {"commits": COMMITS})
            except JournalIncomplete:
                journal = f"the journal in the keyspace {self._keyspace}"
                raise of_older_format(journal, self._address.setting) from None
            try:
                await self._session.prepare_all(self._keyspace, STATEMENTS, SERIAL, CONDITIONAL)
            except JournalMissing as error:
                raise JournalIncomplete(str(error)) from None
            await self.save_schemas(COMMIT_SCHEMAS)
        except JournalMissing as error:
            await self.close()
            raise type(error)(f"keyspace {self._keyspace} is missing or incomplete: {error}") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._session.close()

    async def identity(self) -> Identity | None:
        rows = await self._session.run("identity")
        return Identity(**dict(zip(Identity.__struct_fields__, rows[0], strict=True))) if rows else None

    async def claim(self, identity: Identity) -> Identity:
        if (present := await self.identity()) is not None:  # who may only read asks as well
            return present
        await self._session.run("claim", *msgspec.structs.astuple(identity))
        claimed = await self.identity()
        if claimed is None:
            raise Unavailable(f"the identity of {self._keyspace} was written, and yet is not there")
        return claimed

    async def layout(self, type: str) -> Layout | None:
        rows = await self._session.run("layout", type)
        return msgspec.json.decode(rows[0][1], type=Layout) if rows else None

    async def change_layout(self, type: str, layout: Layout) -> Layout:
        text = msgspec.json.encode(layout).decode()
        if layout.version == 1:
            [[applied, *_]] = await self._session.run("first_layout", type, 1, text)
        else:
            [[applied, *_]] = await self._session.run("change_layout", layout.version, text, type, layout.version - 1)
        if applied:
            return layout
        present = await self.layout(type)
        if present is None:
            raise Unavailable(f"the layout of {type} was written, and yet is not there")
        return present

    async def append(self, commit: Commit, snapshots: Sequence[Snapshot] = ()) -> None:
        log, bucket = commit.log, commit.nr // COMMITS_PER_BUCKET
        [[applied, *_]] = await self._session.run(
            "append",
            log,
            bucket,
            commit.nr,
            commit.epoch,
            commit.owner,
            commit.topic_id,
            commit.derived_nr,
            commit.recorded_at,
            encode_payload(commit.slices, commit.events, commit.is_seal),
        )
        if not applied:
            rows = await self._session.run("commit", log, bucket, commit.nr)
            if not rows:
                raise Unavailable(f"{log} nr {commit.nr} was taken, and yet is not there")
            present = commit_of(log, rows[0])
            if not present.same_as(commit):
                raise Fenced.by(present, commit)
        if commit.nr == 1 or commit.nr % COMMITS_PER_BUCKET == 0:
            self._remember_bucket(log, bucket)

    async def head(self, log: str, after: int = 0) -> Commit | None:
        # Where to start is a guess that may lie behind. From there the SERIAL reads tell the truth.
        first = (after + 1) // COMMITS_PER_BUCKET
        pointer = await self._session.run("bucket", log)
        start = int(pointer[0][0]) if pointer else await self._last_bucket(log, first)
        newest = await self._newest(log, start)
        if newest is None and start != first:  # it lies ahead: the tables were restored from different moments
            start = await self._last_bucket(log, first)
            newest = await self._newest(log, start)
        if newest is not None and newest.nr // COMMITS_PER_BUCKET > start:
            self._remember_bucket(log, newest.nr // COMMITS_PER_BUCKET)
        return newest

    async def _newest(self, log: str, bucket: int) -> Commit | None:
        """The newest commit, looked for from a bucket on; None where that one is empty."""
        newest: Commit | None = None
        while rows := await self._session.run("newest", log, bucket):
            newest = commit_of(log, rows[0])
            if (newest.nr + 1) // COMMITS_PER_BUCKET == bucket:
                break
            bucket += 1
        return newest

    async def _last_bucket(self, log: str, first: int) -> int:
        """The last bucket that holds commits; the `first` one when none does."""
        # Leap to an empty bucket, then halve. Buckets are filled one after another and never emptied.
        full, step = first, 1
        while await self._session.run("any", log, full + step):
            full, step = full + step, step * 2
        while step > 1:
            step //= 2
            if await self._session.run("any", log, full + step):
                full += step
        return full

    def _remember_bucket(self, log: str, bucket: int) -> None:
        """Best effort, in the background: without it `head` only takes longer. The bucket is known to hold a commit."""
        saving = self._session.run("save_bucket", log, bucket)
        saving.add_done_callback(lambda saved: saved.cancelled() or saved.exception())

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        commits: list[Commit] = []
        size, page = 0, FIRST_PAGE
        bucket = (after + 1) // COMMITS_PER_BUCKET
        while len(commits) < limit and size < PAGE_BYTES:
            page = min(page, limit - len(commits))
            rows = await self._session.run("commits", log, bucket, after, page)
            for row in rows:
                if row[0] != after + 1:  # the replicas that answered do not have that one yet
                    return commits
                after += 1
                size += len(row[-1])
                commits.append(commit_of(log, row))
            if (after + 1) // COMMITS_PER_BUCKET > bucket:
                bucket += 1
            elif len(rows) < page:
                break
            page = next_page(size, len(commits))
        return commits

    async def derive(self, commits: Sequence[Commit]) -> None:
        # Made as they are sent: all of a backlog at once would hold the loop, and many objects.
        rows = event_rows(self._session.statement("derive"), commits)
        rest = batches(rows, self._session.replica_finder())
        most = min(_STATEMENTS_IN_FLIGHT, sum(len(commit.events) for commit in commits))
        await all_done(self._send(rest) for _ in range(most))

    async def _send(self, rest: Iterator[Sequence[BoundStatement]]) -> None:
        """Send batches of `rest`, which several of these share, one after another."""
        while True:
            async with self._in_flight:
                if (batch := next(rest, None)) is None:
                    return
                await self._session.execute_together(batch)

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        events: list[StoredEvent] = []
        size, place = 0, (from_sequence, -1, -1)
        if (from_sequence, to_sequence) == (0, LAST_SEQUENCE):
            page, rows = FIRST_EVENTS, await self._first_events.rows(type, aggregate_id)
        else:
            # The next snapshot is taken when the events behind one weigh as much as it does: those are read at once.
            page = MOST_ROWS if from_sequence else _FIRST_PAGE
            rows = await self._session.run("events", type, aggregate_id, *place, to_sequence, page)
        while True:
            events += [event_of(aggregate_id, row) for row in rows]
            if len(rows) < page:
                return events
            place = rows[-1][:3]
            size += sum(100 + len(stored.event.data) for stored in events[-page:])
            # Where all events are wanted, there may be many, and large ones.
            page = next_page(size, len(events))
            rows = await self._session.run("events", type, aggregate_id, *place, to_sequence, page)

    async def snapshot(self, type: str, aggregate_id: str) -> Snapshot | None:
        rows = await self._snapshots.rows(type, aggregate_id)
        return Snapshot(aggregate_id, *rows[0]) if rows else None

    async def save_snapshots(self, type: str, snapshots: Sequence[Snapshot]) -> None:
        async def save(snapshot: Snapshot) -> None:
            async with self._in_flight:
                values = snapshot.sequence, snapshot.nr, snapshot.version, snapshot.state
                await self._session.run("save_snapshot", type, snapshot.aggregate_id, *values)

        newest = {snapshot.aggregate_id: snapshot for snapshot in snapshots}
        await all_done(save(snapshot) for snapshot in newest.values())

    async def aggregate_ids(self, type: str) -> AsyncIterator[str]:
        # Both tables come in the order of the same tokens: merged, each id is met once without remembering any.
        events, snapshots = self._ids("event_ids"), self._ids("snapshot_ids")
        event, snapshot = await anext(events, None), await anext(snapshots, None)
        while event is not None or snapshot is not None:
            place = min(next_id for next_id in (event, snapshot) if next_id is not None)
            if event == place:
                event = await anext(events, None)
            if snapshot == place:
                snapshot = await anext(snapshots, None)
            if place[1] == type:
                yield place[2]

    async def _ids(self, statement: str) -> AsyncIterator[tuple[int, str, str]]:
        """(token, type, id) of a table by aggregate, in the order of the tokens."""
        token = _FIRST_TOKEN
        while rows := await self._session.run(statement, token, _IDS_AT_ONCE):
            if len(rows) == _IDS_AT_ONCE:  # a token that two ids share, however unlikely, is not cut in two
                last = rows[-1][2]
                rows = [row for row in rows if row[2] != last] or rows
            for type, id, token in sorted(rows, key=lambda row: (row[2], row[0], row[1])):
                yield token, type, id

    async def remove_events(self, type: str, rows: Sequence[StoredEvent]) -> None:
        await all_done(
            self._session.run("remove_event", type, row.event.aggregate_id, row.event.sequence, row.nr, row.index)
            for row in rows
        )

    async def replace_published(self, log: str, published: Published) -> None:
        await self._session.run("replace_published", published.nr, published.index, log)

    async def remove_snapshot(self, type: str, aggregate_id: str) -> None:
        await self._session.run("remove_snapshot", type, aggregate_id)

    async def save_schemas(self, schemas: Mapping[str, str]) -> None:
        missing = schemas.keys() - (await self.schemas()).keys()  # who may only read has none to add
        await all_done(self._session.run("save_schema", name, schemas[name]) for name in missing)

    async def schemas(self) -> Mapping[str, str]:
        return dict(await self._session.run("schemas"))

    async def published(self, log: str) -> Published | None:
        rows = await self._session.run("published", log)
        return Published(*rows[0]) if rows else None

    async def save_published(self, log: str, published: Published) -> None:
        nr, index = published.nr, published.index
        if not (await self._session.run("save_published", nr, index, log, nr))[0][0]:  # a later one, or none
            await self._session.run("first_published", log, nr, index)
