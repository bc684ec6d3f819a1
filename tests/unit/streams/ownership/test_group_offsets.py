"""How far commands are, for those who look at the lag of consumer groups."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.kafka.client import Offsets
from streams.ownership.group_offsets import GroupOffsets


@pytest.mark.asyncio
async def test_what_has_moved_is_told() -> None:
    """By topic, when some of it has moved; what a broker that is down was not told is told the next time."""
    covered: dict[str, dict[int, int]] = {"order-commands": {0: 5}, "stock-commands": {}}
    told: list[Offsets] = []
    down = False

    async def commit(offsets: Offsets) -> None:
        if down:
            raise KafkaConnectionError("down")
        told.append(offsets)

    offsets = GroupOffsets(lambda: covered, commit)
    await offsets.tell()
    await offsets.tell()
    assert [{"order-commands": {0: 5}}] == told
    covered["stock-commands"] = {1: 2}
    down = True
    await offsets.tell()
    down = False
    await offsets.tell()
    assert {"stock-commands": {1: 2}} == told[-1]
    covered["order-commands"][0] = 6
    await offsets.tell()
    assert ({"order-commands": {0: 6}}, 3) == (told[-1], len(told))
