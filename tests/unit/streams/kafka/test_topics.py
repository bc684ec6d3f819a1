"""How topics are made."""

from __future__ import annotations

import pytest

from streams.kafka.topics import commands_topic, type_topics


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_as_many_copies_as_one_lost_broker_allows(replication: int, in_sync: str) -> None:
    """A write is acknowledged when all replicas but one have it, so that one broker may be down and none is lost."""
    commands = next(t for t in type_topics("", "order", 8) if t.name == commands_topic("", "order"))
    assert in_sync == commands.configs(replication)["min.insync.replicas"]
    assert "false" == commands.configs(replication)["unclean.leader.election.enable"]
