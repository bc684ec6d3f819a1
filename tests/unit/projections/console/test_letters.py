"""Dead letters for the verdict: in little memory, however large they are and however many were dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

from projections.console.findings.snapshot import Snapshot
from projections.console.findings.verdict import FirstSeen, verdict_of
from projections.console.letters import MOST_LETTERS, REACH, grouped, in_short
from streams.cli.dead_letters import DeadLetterTopic, letter_command_id, not_dropped, summary
from streams.settings import Settings

TP = TopicPartition("order-dead-letters", 3)


def letter(offset: int = 17, **changes: Any) -> ConsumerRecord[Any, Any]:
    ours = [("dl_type", b"Unreadable"), ("dl_message", b"no"), ("dl_time", b"1795339800123"), ("dl_id", b"c9")]
    fields: dict[str, Any] = {
        "topic": TP.topic, "partition": TP.partition, "offset": offset, "timestamp": 0, "timestamp_type": 0,
        "key": b"536365", "value": b'{"sku": 1}', "checksum": None, "serialized_key_size": 6,
        "serialized_value_size": 10, "headers": [("ce_type", b"AddLine"), *ours],
    }  # fmt: skip
    return ConsumerRecord(**{**fields, **changes})


LETTERS: list[dict[str, Any]] = [
    {},
    {"headers": [("dl_type", b"Unreadable"), ("dl_quarantine", b"1")], "value": b'{"type": "AddLine"}'},
    {"headers": [("dl_type", b"x"), ("ce_type", None), ("x", b"x" * 1_000), ("dl_trace", b"t" * 1_000)]},
    {"headers": [("dl_type", b"\xff"), ("dl_time", b"2026"), ("ce_type", b"\xff")], "value": b"x" * 1_000_000},
    {"headers": [("dl_dropped", b"5")], "value": b"5"},
    {"headers": [], "key": None, "value": b"\xff"},
]


@pytest.mark.parametrize("changes", LETTERS)
def test_a_letter_in_short(changes: dict[str, Any]) -> None:
    """It says the same, without the command and what its sender has written beside it."""
    whole, short = letter(**changes), in_short(letter(**changes))
    assert (summary(whole), letter_command_id(whole)) == (summary(short), letter_command_id(short))
    assert 500 > len(short.value) + sum(len(value or b"") for _, value in short.headers)
    marker = in_short(letter(18, value=None, headers=[("dl_dropped", b"17")]))
    assert [] == not_dropped([short, marker])


class Consumer:
    """Has that many records, all dropped."""

    def __init__(self, size: int) -> None:
        self.size, self.at, self.read = size, 0, 0

    def assign(self, partitions: list[TopicPartition]) -> None: ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at = offset

    async def position(self, tp: TopicPartition) -> int:
        return self.at

    async def getmany(self, *tps: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        first, self.at = self.at, min(self.at + 100, self.size)
        self.read += self.at - first
        marker = {"value": None, "headers": [("dl_dropped", b"1")]}
        return {TP: [letter(offset, **marker) for offset in range(first, self.at)]}


async def test_what_was_dropped_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a topic whose letters were all dropped not more than the newest are looked through."""
    consumer = Consumer(200_000)

    @asynccontextmanager
    async def opened(self: Any) -> AsyncIterator[Any]:
        yield consumer, {TP: (0, consumer.size)}

    monkeypatch.setattr(DeadLetterTopic, "_opened", opened)
    topic = DeadLetterTopic(Settings(), "order")
    assert ([], True) == await topic.newest(MOST_LETTERS, REACH, in_short)
    assert 2 * REACH > consumer.read


async def test_letters_beside_those_that_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read for what drops others, and not kept."""
    sizes: list[int] = []
    found = [letter(17), letter(18, value=b"x" * 1_000_000), letter(19), letter(20, value=None)]
    found[3].headers = [("dl_dropped", b"19")]

    class Some(Consumer):
        async def getmany(self, *tps: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
            self.at = 21
            return {TP: found}

    @asynccontextmanager
    async def opened(self: Any) -> AsyncIterator[Any]:
        yield Some(21), {TP: (0, 21)}

    def counted(records: list[Any]) -> list[Any]:
        sizes.append(sum(len(record.value or b"") for record in records))
        return not_dropped(records)

    monkeypatch.setattr(DeadLetterTopic, "_opened", opened)
    monkeypatch.setattr("streams.cli.dead_letters.not_dropped", counted)
    [only] = await DeadLetterTopic(Settings(), "order").some({(3, 17), (3, 19)})
    assert (17, b'{"sku": 1}') == (only.offset, only.value)
    assert 100 > sizes[0]


def test_a_time_without_a_zone() -> None:
    """Whatever a stranger has written as the time of a letter: the verdict is given."""
    letters = grouped("order", [letter(headers=[("dl_time", b"2026-11-29T12:00:00")])])
    now = datetime.now(UTC)
    assert "look" == verdict_of(Snapshot(at=now, letters=letters), FirstSeen()).verdict
    assert timedelta(0) == (letters[0].first or now).utcoffset()
