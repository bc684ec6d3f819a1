"""A worker's place in its consumer group, as it is kept in its folder. That Kafka hears of it: tests/e2e."""

from __future__ import annotations

import asyncio
from pathlib import Path

from streams.membership import Membership

NOWHERE = ["127.0.0.1:1"]


async def test_the_last_name_is_kept(tmp_path: Path) -> None:
    """Each rebalance may bring another name; a successor finds the last one."""
    file = tmp_path / "member"
    membership = Membership(file, NOWHERE, "group")
    await membership.succeed()
    for name in ("faust-1", "faust-22", "faust-3"):
        membership.record(name)
    assert "faust-3" == file.read_text()


async def test_a_folder_shared_by_mistake(tmp_path: Path) -> None:
    """Who comes second takes nobody for dead, and leaves the name of the first alone."""
    file = tmp_path / "member"
    first, second = Membership(file, NOWHERE, "group"), Membership(file, NOWHERE, "group")
    await first.succeed()
    first.record("faust-1")
    assert not await second.succeed()
    second.record("faust-2")
    assert "faust-1" == file.read_text()


async def test_a_predecessor_on_its_way_out(tmp_path: Path) -> None:
    """A worker that is started while the last one ends waits for the folder."""
    file = tmp_path / "member"
    first, second = Membership(file, NOWHERE, "group"), Membership(file, NOWHERE, "group")
    assert await first.succeed()
    waiting = asyncio.create_task(second.succeed(patience=30))
    await asyncio.sleep(0)
    assert first._file is not None
    first._file.close()
    assert await waiting


async def test_kafka_is_down(tmp_path: Path) -> None:
    """A predecessor that cannot be taken out of the group costs time later, and nothing now."""
    file = tmp_path / "member"
    file.write_text("faust-dead")
    membership = Membership(file, NOWHERE, "group")
    await membership.succeed()
    assert "" == file.read_text()
    membership.record("faust-1")
    assert "faust-1" == file.read_text()
