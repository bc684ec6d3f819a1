"""Tables over real RocksDB: what is written, and what a recovery makes of a changelog."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from projections.tables import Table
from streams.broker import Record
from streams.faust_app import Application
from streams.settings import Settings


class Changelog:
    """One partition of a changelog, as much of the broker as a table needs."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        self.records += [(key or b"", value) for key, value, _ in records]
        return len(self.records) - 1


class Machine:
    """A worker's table on its own disk, and the way back to it from the changelog."""

    def __init__(self, folder: Path, changelog: Changelog) -> None:
        app = Application("a.test", "a-test", Settings(data_dir=folder, partitions=1), store="local://")
        self.table = Table(app, "rows")
        self._changelog: Any = changelog

    @property
    def read_up_to(self) -> int:
        """The offset of the changelog behind which a recovery begins."""
        offset = self.table._table.data.persisted_offset(TP(self.table.changelog, 0))
        return -1 if offset is None else int(offset)

    async def put(self, **rows: bytes) -> None:
        encoded: dict[bytes, bytes | None] = {key.encode(): value for key, value in rows.items()}
        self.table.write(0, encoded, await self.table.publish(self._changelog, 0, encoded))

    def recover(self) -> None:
        """What Faust does when a partition is assigned."""
        tp = TP(self.table.changelog, 0)
        events = [
            SimpleNamespace(message=SimpleNamespace(tp=tp, partition=0, offset=offset, key=key, value=value))
            for offset, (key, value) in enumerate(self._changelog.records)
            if offset > self.read_up_to
        ]
        self.table._table.data.apply_changelog_batch(events, None, None)

    def rows(self, *keys: str) -> list[bytes | None]:
        return [self.table.get(0, key.encode()) for key in keys]


def row(nr: int) -> bytes:
    return b'{"position":"order-0:%d:0"}' % nr


@pytest.fixture
def changelog() -> Changelog:
    return Changelog()


@pytest.fixture
def machine(tmp_path: Path, changelog: Changelog) -> Machine:
    return Machine(tmp_path / "one", changelog)


@pytest.fixture
def other(tmp_path: Path, changelog: Changelog) -> Machine:
    return Machine(tmp_path / "other", changelog)


async def test_written_with_its_offset(machine: Machine, other: Machine) -> None:
    """Rows stand in RocksDB with the offset that they have on the changelog; another worker recovers the same."""
    await machine.put(a=row(1), b=row(2))
    await machine.put(a=row(3))
    assert ([row(3), row(2)], 2) == (machine.rows("a", "b"), machine.read_up_to)
    other.recover()
    assert ([row(3), row(2)], 2) == (other.rows("a", "b"), other.read_up_to)


async def test_late_rows_of_a_former_owner(machine: Machine, other: Machine) -> None:
    """Older rows that a former owner puts behind newer ones change nothing, for either, when they recover."""
    await machine.put(a=row(1), positions=b"1")
    other.recover()
    await other.put(a=row(3), b=row(3), positions=b"3")
    await machine.put(a=row(2), positions=b"2")  # it was stopped in the middle of this
    for worker in (machine, other):
        worker.recover()
        assert [row(3), row(3), b"3"] == worker.rows("a", "b", "positions")
        assert 6 == worker.read_up_to


async def test_what_others_wrote_is_read(machine: Machine, other: Machine) -> None:
    """A worker that writes behind what it has not read goes on from there when it recovers, and misses none of it."""
    await machine.put(a=row(1))
    other.recover()
    await other.put(b=row(2))
    await machine.put(c=row(3))
    assert 0 == machine.read_up_to
    machine.recover()
    assert [row(1), row(2), row(3)] == machine.rows("a", "b", "c")


async def test_what_a_removed_row_has_left(tmp_path: Path) -> None:
    """Queries do not see what a removed row has left behind; the engine does."""
    machine = Machine(tmp_path, Changelog())
    left = b'{"gone":true,"position":"order-0:2:0","sequence":2}'
    await machine.put(a=b'{"position":"order-0:1:0"}', b=left)
    assert (left, None) == (machine.table.get(0, b"b"), machine.table.row(0, b"b"))
    assert b'{"position":"order-0:1:0"}' == machine.table.row(0, b"a")
    assert [b'{"position":"order-0:1:0"}'] == list(machine.table.scan(0))
