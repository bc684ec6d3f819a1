"""Events that wait behind a projection, on their topic: also those that the topic does not take whole."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from projections.applying.dead_letters import ProjectionDeadLetters
from streams.kafka.client import ProducerRecord, RecordTooLarge

POSITION = ("ce_position", b"box-0:1:0")


class Topic:
    """Takes records of up to 400 bytes."""

    def __init__(self) -> None:
        self.records: list[ProducerRecord] = []

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        for sent, (key, value, headers) in enumerate(records):
            size = len(key or b"") + len(value or b"") + sum(len(name) + len(text) for name, text in headers)
            if size > 400:
                raise RecordTooLarge(topic, size, 400, sent)
            self.records.append((key, value, headers))
        return len(self.records) - 1


def waiting(value: bytes, *more: tuple[str, bytes], key: bytes = b"1") -> Any:
    return SimpleNamespace(source=SimpleNamespace(key=key, value=value, headers=[POSITION, *more])), "1", "why"


async def test_an_event_that_the_topic_does_not_take_whole() -> None:
    """It is kept without the event, or without other people's headers; nothing waits for it, nothing is there twice."""
    topic = Topic()
    letters = ProjectionDeadLetters("letters", topic)  # type: ignore[arg-type]
    large, wide = waiting(b"x" * 500), waiting(b"", ("ce_traceparent", b"x" * 500))
    await letters.keep(0, "boxes-1", [waiting(b"a"), large, waiting(b"b"), wide, waiting(b"c", key=b"k" * 500)])
    assert [b"a", b"", b"b", b""] == [value for _, value, _ in topic.records]
    assert all(POSITION in headers and ("dl_reason", b"why") in headers for _, _, headers in topic.records)
