"""The rows of keys in memory: the readable specification of the port, and the double for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping

from streams.keys.port import KeyRow


class MemoryKeyRows:
    """`KeyRows` in this process; `rows` is what those that share it have in common."""

    def __init__(self, rows: dict[str, KeyRow] | None = None) -> None:
        self._rows = {} if rows is None else rows

    async def create(self) -> None:
        pass

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def get(self, ids: Collection[str]) -> Mapping[str, KeyRow]:
        return {id: self._rows[id] for id in ids if id in self._rows}

    async def insert(self, id: str, value: bytes) -> KeyRow:
        return self._rows.setdefault(id, KeyRow(id, 1, value))

    async def replace(self, id: str, version: int, value: bytes) -> KeyRow | None:
        present = self._rows.get(id)
        if present is not None and present.version == version:
            present = self._rows[id] = KeyRow(id, version + 1, value)
        return present

    async def all(self) -> AsyncIterator[KeyRow]:
        for row in list(self._rows.values()):
            yield row
