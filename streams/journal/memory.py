"""The journal in memory: the readable specification of the port, and the double for tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from streams.journal.layout import Layout
from streams.journal.port import (
    LAST_SEQUENCE,
    Commit,
    Fenced,
    Identity,
    JournalMissing,
    Published,
    Snapshot,
    StoredEvent,
    log_type,
)


@dataclass
class MemoryStore:
    """What the journals that share it have in common: the database, as it were."""

    created: bool = False
    identity: Identity | None = None
    log: dict[str, list[Commit]] = field(default_factory=lambda: defaultdict(list))
    events: dict[tuple[str, str], dict[tuple[int, int, int], StoredEvent]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    snapshots: dict[tuple[str, str], Snapshot] = field(default_factory=dict)
    schemas: dict[str, str] = field(default_factory=dict)
    published: dict[str, Published] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)


class MemoryJournal:
    """A `Journal` on a store in this process."""

    is_transactional = False

    def __init__(self, store: MemoryStore | None = None) -> None:
        self._store = store or MemoryStore()

    async def create(self) -> None:
        self._store.created = True

    async def open(self) -> None:
        if not self._store.created:
            raise JournalMissing("the journal in memory has not been created: run `faust -A <app> setup`")

    async def close(self) -> None:
        pass

    async def identity(self) -> Identity | None:
        return self._store.identity

    async def claim(self, identity: Identity) -> Identity:
        self._store.identity = self._store.identity or identity
        return self._store.identity

    async def head(self, log: str, after: int = 0) -> Commit | None:
        commits = self._store.log[log]
        return commits[-1] if commits else None

    async def append(self, commit: Commit, snapshots: Sequence[Snapshot] = ()) -> None:
        commits = self._store.log[commit.log]
        first = commits[0].nr if commits else commit.nr  # a log may begin at any number: behind another
        index = commit.nr - first
        if not 0 <= index <= len(commits):
            raise ValueError(f"{commit.log}: nr {commit.nr} after {first + len(commits) - 1} would leave a gap")
        if index == len(commits):
            commits.append(commit)
        elif not (present := commits[index]).same_as(commit):
            raise Fenced.by(present, commit)

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        commits = self._store.log[log]
        if not commits:
            return []
        index = after + 1 - commits[0].nr
        return commits[index : index + limit] if index >= 0 else []

    async def layout(self, type: str) -> Layout | None:
        return self._store.layouts.get(type)

    async def change_layout(self, type: str, layout: Layout) -> Layout:
        present = self._store.layouts.get(type)
        if layout.version == (present.version + 1 if present is not None else 1):
            present = self._store.layouts[type] = layout
        assert present is not None, f"the layout of {type} with version {layout.version} has nothing before it"
        return present

    async def derive(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            for index, event in enumerate(commit.events):
                rows = self._store.events[log_type(commit.log), event.aggregate_id]
                rows[event.sequence, commit.nr, index] = StoredEvent(event, commit.nr, index, commit.recorded_at)

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        rows = self._store.events.get((type, aggregate_id), {})
        return [rows[key] for key in sorted(rows) if from_sequence <= key[0] <= to_sequence]

    async def snapshot(self, type: str, aggregate_id: str) -> Snapshot | None:
        return self._store.snapshots.get((type, aggregate_id))

    async def save_snapshots(self, type: str, snapshots: Sequence[Snapshot]) -> None:
        for snapshot in snapshots:
            self._store.snapshots[type, snapshot.aggregate_id] = snapshot

    async def aggregate_ids(self, type: str) -> AsyncIterator[str]:
        with_rows = {place for place, rows in self._store.events.items() if rows}
        for of_type, aggregate_id in with_rows | self._store.snapshots.keys():
            if of_type == type:
                yield aggregate_id

    async def remove_events(self, type: str, rows: Sequence[StoredEvent]) -> None:
        for row in rows:
            self._store.events[type, row.event.aggregate_id].pop((row.event.sequence, row.nr, row.index), None)

    async def replace_published(self, log: str, published: Published) -> None:
        self._store.published[log] = published

    async def remove_snapshot(self, type: str, aggregate_id: str) -> None:
        self._store.snapshots.pop((type, aggregate_id), None)

    async def save_schemas(self, schemas: Mapping[str, str]) -> None:
        self._store.schemas.update(schemas)

    async def schemas(self) -> Mapping[str, str]:
        return dict(self._store.schemas)

    async def published(self, log: str) -> Published | None:
        return self._store.published.get(log)

    async def save_published(self, log: str, published: Published) -> None:
        present = self._store.published.get(log)
        if present is None or present.nr <= published.nr:
            self._store.published[log] = published
