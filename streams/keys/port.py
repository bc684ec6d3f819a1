"""Where the keys of subjects are kept: rows with a version, changed by conditional writes alone.

One linearizable row is key and fence at once: a key is inserted where nothing stands, and erased by a change of the
same row. So no append can bring a key back. Every implementation passes `tests/contract/test_key_rows.py`; that in
memory is the readable specification.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import NamedTuple, Protocol


class KeyRow(NamedTuple):
    """A row: its version rises by one with each change."""

    id: str
    version: int
    value: bytes


class KeyRows(Protocol):
    """The rows of one namespace. All raise `Unavailable`, after which the same may be asked again."""

    async def create(self) -> None:
        """Make what they are kept in. Safe to repeat and to race."""

    async def open(self) -> None:
        """Connect. Raises `JournalMissing`, `SettingsError`."""

    async def close(self) -> None:
        """Let go of the connection."""

    async def get(self, ids: Collection[str]) -> Mapping[str, KeyRow]:
        """The rows that are there, by id: what is committed before the call is seen."""

    async def insert(self, id: str, value: bytes) -> KeyRow:
        """Write a row of version 1 where none stands. Returns it, or the one that stands there. Linearizable."""

    async def replace(self, id: str, version: int, value: bytes) -> KeyRow | None:
        """Write the next version of a row if it has this one. Returns it, or the one that stands there instead; None
        where there is none. Asked again after `Unavailable`, the one that stands there may be that of the first
        attempt: its value tells. Linearizable."""

    def all(self) -> AsyncIterator[KeyRow]:
        """All rows, each once, in no order: at least those that were there before the call, as they were then or
        later."""
