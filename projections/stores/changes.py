"""Who waits for changes of rows, and is woken when they are kept.

What has changed is not handed on: who is woken reads the rows. So a hundred changes of a row while nobody could look
are one, and who is slow holds no rows. Where nobody listens it costs one look into a dictionary per batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from projections.stores.rows import Changes

MOST_AGAIN = 1_000
"""Keys that were folded anew and that a listener has not looked at yet: with more it is sent away."""


class TooSlow(Exception):
    """Who listens has not looked for too long."""


class ChangeListener:
    """Waits for changes of one row, or of all rows of a table in some partitions."""

    def __init__(self) -> None:
        self._changed: dict[int, set[str]] = {}
        self._woken = asyncio.Event()

    def wake(self, partition: int, again: Collection[str] = ()) -> None:
        """Rows of this partition have changed; `again`: those that changed without a new event."""
        self._changed.setdefault(partition, set()).update(again)
        self._woken.set()

    async def wait(self) -> Mapping[int, Collection[str]]:
        """The partitions in which rows have changed since the last time, at once if there are some, each with those
        keys that were folded anew: they are not found by their position. Raises `TooSlow`."""
        await self._woken.wait()
        self._woken.clear()
        changed, self._changed = self._changed, {}
        if sum(map(len, changed.values())) > MOST_AGAIN:
            raise TooSlow(f"more than {MOST_AGAIN} rows were folded anew meanwhile")
        return changed


class ChangeNotifier:
    """The listeners of one aggregate type, by table and partition, and by key (None: all of them)."""

    def __init__(self) -> None:
        self._listening: dict[tuple[str, int], dict[str | None, set[ChangeListener]]] = {}

    @contextmanager
    def listening(self, table: str, partitions: Collection[int], key: str | None = None) -> Iterator[ChangeListener]:
        """Be woken from now on. Who reads the rows after that misses no change."""
        listener = ChangeListener()
        for partition in partitions:
            self._listening.setdefault((table, partition), {}).setdefault(key, set()).add(listener)
        try:
            yield listener
        finally:
            for partition in partitions:
                keys = self._listening[table, partition]
                keys[key].discard(listener)
                if not keys[key]:
                    del keys[key]
                if not keys:
                    del self._listening[table, partition]

    def changed(self, table: str, partition: int, changes: Changes) -> None:
        """The store has this."""
        listening = self._listening.get((table, partition))
        if listening is None:
            return
        for listener in listening.get(None, ()):
            listener.wake(partition, changes.quarantined.keys() & changes.rows.keys())
        for key in listening.keys() & changes.rows.keys():
            for listener in listening[key]:
                listener.wake(partition)
