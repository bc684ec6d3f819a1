"""A worker's place in its consumer group, as it is kept in its folder. That Kafka hears of it: tests/e2e."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.kafka.client_factory import ClientFactory
from streams.membership.group import KafkaGroup
from streams.membership.member_file import Membership
from streams.settings import SettingsError

GROUP = KafkaGroup(ClientFactory(["127.0.0.1:1"]), "group")


async def test_the_last_name_is_kept(tmp_path: Path) -> None:
    """Each rebalance may bring another name; a successor finds the last one."""
    file = tmp_path / "member"
    membership = Membership(file, GROUP)
    await membership.succeed()
    for name in ("faust-1", "faust-22", "faust-3"):
        membership.record(name)
    assert "faust-3" == file.read_text()


async def test_a_folder_shared_by_mistake(tmp_path: Path) -> None:
    """Who comes second takes nobody for dead, and leaves the name of the first alone."""
    file = tmp_path / "member"
    first, second = Membership(file, GROUP), Membership(file, GROUP)
    await first.succeed()
    first.record("faust-1")
    await second.succeed()
    second.record("faust-2")
    assert "faust-1" == file.read_text()


async def test_kafka_is_down(tmp_path: Path) -> None:
    """A predecessor that cannot be taken out of the group costs time later, and nothing now."""
    file = tmp_path / "member"
    file.write_text("faust-dead")
    membership = Membership(file, GROUP)
    await membership.succeed()
    assert "" == file.read_text()
    membership.record("faust-1")
    assert "faust-1" == file.read_text()


async def test_a_folder_with_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second is refused in one line that names the folder; when the first has ended, it is let in."""
    monkeypatch.setattr("streams.membership.member_file.END_SECONDS", 0.2)
    first, second = (Membership(tmp_path / "member", GROUP) for _ in range(2))
    await first.succeed(alone=True)
    with pytest.raises(SettingsError, match="in use by another worker") as refused:
        await second.succeed(alone=True)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert first._file is not None
    asyncio.get_running_loop().call_later(0.1, first._file.close)
    await second.succeed(alone=True)
