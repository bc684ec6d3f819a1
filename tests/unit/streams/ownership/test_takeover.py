"""A stream begins only where nothing was published of it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from streams.journal.memory import MemoryJournal
from streams.journal.port import Unavailable
from streams.kafka.command_partition import CommandPartition
from streams.ownership.takeover import take_over

STREAM = "order-1"


class Broker:
    """Kafka with one command partition, and one of events whose last record has these headers."""

    def __init__(self, *headers: tuple[str, bytes], end: int = 1) -> None:
        self._record = SimpleNamespace(headers=headers)
        self._end = end

    async def end_offset(self, topic: str, partition: int) -> int:
        return self._end

    async def last_record(self, topic: str, partition: int, wanted: Callable[[Any], bool]) -> Any:
        assert ("order-events", 1) == (topic, partition)
        assert self._end, "nobody need look"
        return self._record if wanted(self._record) else None

    async def describe(self, topics: list[str]) -> dict[str, Any]:
        return {topics[0]: SimpleNamespace(id="t1")}


def at(position: bytes) -> list[tuple[str, bytes]]:
    return [("ce_id", position), ("ce_position", position)]


def log(*headers: tuple[str, bytes], end: int = 1) -> CommandPartition:
    return CommandPartition(Broker(*headers, end=end), "order-commands", 1, "order-events")  # type: ignore[arg-type]


async def test_a_stream_that_was_published() -> None:
    """An empty log beside its events is not the log that they are from: nothing is written to it."""
    journal = MemoryJournal()
    with pytest.raises(Unavailable, match="order-1: its events are published up to 15:0, and the journal has nothing"):
        await take_over(journal, log(*at(b"order-1:15:0")), STREAM, "t1", "me")
    assert await journal.head(STREAM) is None


@pytest.mark.parametrize(
    "events",
    [
        log(end=0),
        log(),
        log(*at(b"order-2:15:0")),
        log(*at(b"\xff")),
        log(("ce_position", b"order-1:15:0")),
        log(("ce_position", b"order-1:15:0"), ("ce_id", b"another")),
    ],
    ids=["none", "without a position", "of another stream", "unreadable", "without an id", "with an id of its own"],
)
async def test_a_stream_that_begins(events: CommandPartition) -> None:
    """Nothing was published of it, and what a stranger has written there says nothing."""
    journal = MemoryJournal()
    old, new = await take_over(journal, events, STREAM, "t1", "me")
    assert (None, 1) == (old, new.nr)


async def test_a_stream_that_goes_on() -> None:
    """Is taken over without a look at its events."""
    journal = MemoryJournal()
    await take_over(journal, log(end=0), STREAM, "t1", "me")
    old, new = await take_over(journal, log(*at(b"order-1:15:0")), STREAM, "t1", "you")
    assert (1, 2) == (old and old.nr, new.nr)
