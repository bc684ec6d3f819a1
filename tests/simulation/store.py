"""The journal's store over a network that fails: the journal in memory is the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from streams.journal.layout import Layout
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import LAST_SEQUENCE, Commit, Published, Snapshot, StoredEvent, log_type

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")


class TransactionalJournal(MemoryJournal):
    """The journal in memory as a store with transactions keeps it: an append derives its rows and snapshots too."""

    is_transactional = True

    async def append(self, commit: Commit, snapshots: Sequence[Snapshot] = ()) -> None:
        await super().append(commit)
        await self.derive([commit])
        await self.save_snapshots(log_type(commit.log), snapshots)


class JournalLine:
    """A `Journal` as a worker sees it. A write whose answer is lost may have been done in part, and a read of
    commits may end early, as the port allows."""

    def __init__(self, world: World, store: MemoryStore, transactional: bool) -> None:
        self._world = world
        self._store = store
        self._journal = (TransactionalJournal if transactional else MemoryJournal)(store)
        self.is_transactional = transactional

    async def _ask(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._world.network.ask("journal", lambda: at_once(call()))

    async def head(self, log: str, after: int = 0) -> Commit | None:
        return await self._ask(lambda: self._journal.head(log, after))

    async def layout(self, type: str) -> Layout | None:
        return await self._ask(lambda: self._journal.layout(type))

    async def change_layout(self, type: str, layout: Layout) -> Layout:
        async def change() -> Layout:
            before = self._store.layouts[type]
            try:
                return await self._journal.change_layout(type, layout)
            finally:
                self._world.checks.logs.changed(before, self._store.layouts[type])

        return await self._ask(change)

    async def append(self, commit: Commit, snapshots: Sequence[Snapshot] = ()) -> None:
        async def append() -> None:
            try:
                await self._journal.append(commit, snapshots)
            finally:
                self._world.checks.logs.appended(commit, self._store.log[commit.log])

        await self._ask(append)

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        found = await self._ask(lambda: self._journal.commits(log, after, limit))
        random = self._world.random
        if "journal" in self._world.network.trouble and random.random() < 0.3:
            return found[: random.choice((0, random.randint(0, len(found))))]
        return found

    async def derive(self, commits: Sequence[Commit]) -> None:
        """Commit by commit in any order, each a request of its own: where one fails the others may have been done."""
        order = list(commits)
        self._world.random.shuffle(order)
        size = max(1, len(order) // 2)
        for part in (order[:size], order[size:]):
            if part:
                await self._ask(lambda part=part: self._journal.derive(part))  # type: ignore[misc]

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        return await self._ask(lambda: self._journal.events(type, aggregate_id, from_sequence, to_sequence))

    async def snapshot(self, type: str, aggregate_id: str) -> Snapshot | None:
        return await self._ask(lambda: self._journal.snapshot(type, aggregate_id))

    async def save_snapshots(self, type: str, snapshots: Sequence[Snapshot]) -> None:
        for snapshot in snapshots:
            await self._ask(lambda one=snapshot: self._journal.save_snapshots(type, [one]))  # type: ignore[misc]

    async def schemas(self) -> Mapping[str, str]:
        return await self._ask(self._journal.schemas)

    async def published(self, log: str) -> Published | None:
        return await self._ask(lambda: self._journal.published(log))

    async def save_published(self, log: str, published: Published) -> None:
        await self._ask(lambda: self._journal.save_published(log, published))

    async def replace_published(self, log: str, published: Published) -> None:
        await self._ask(lambda: self._journal.replace_published(log, published))

    def aggregate_ids(self, type: str) -> AsyncIterator[str]:
        return self._journal.aggregate_ids(type)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("it waits")
