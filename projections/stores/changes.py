"""Listeners that wait for changes of rows, and are woken when the store has them.

A change is not handed on: a listener that is woken reads the rows. So a hundred changes of a row before a listener
looks are one change, and a slow listener holds no rows. Without listeners a batch costs one look into a dictionary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from projections.stores.rows import Changes

MOST_AGAIN = 1_000
"""The number of keys that were folded anew and that a listener has not looked at; with more of them it is sent away."""


class TooSlow(Exception):
    """A listener has not looked for too long."""


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
        """The partitions in which rows have changed since the last call; returns at once if there are any.

        Each comes with the keys whose rows were folded anew, which are not found by their position. Raises `TooSlow`.
        """
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
        """A listener that is woken from now on: rows that are read after that miss no change."""
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
        """Wake the listeners of a table: the store has these changes."""
        listening = self._listening.get((table, partition))
        if listening is None:
            return
        for listener in listening.get(None, ()):
            listener.wake(partition, changes.quarantined.keys() & changes.rows.keys())
        for key in listening.keys() & changes.rows.keys():
            for listener in listening[key]:
                listener.wake(partition)
