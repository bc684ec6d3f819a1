"""What is kept of a command that could not be processed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka.errors import KafkaConnectionError
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streams.deciding.messages import Envelope, Failure, Message, unread_envelope
from streams.ownership.replies import Replies


class Kept:
    """Takes what an outbox publishes, and packs it as a producer does."""

    def __init__(self, most: int = 1_048_588) -> None:
        self.records: list[Any] = []
        self.partitions: list[int] = []
        """Of the records."""
        self.most = most

    async def largest(self, topic: str) -> int:
        return self.most

    async def publish(self, topic: str, partition: int, records: Sequence[Any]) -> int:
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
        for offset, (key, value, headers) in enumerate(records):
            assert builder.append(offset, timestamp=0, key=key, value=value, headers=headers) is not None
        self.records += records
        self.partitions += [partition] * len(records)
        return len(records) - 1


async def kept(message: Message, failure: Failure, most: int = 1_048_588) -> list[tuple[str, bytes]]:
    """The headers of its dead letter."""
    broker = Kept(most)
    outbox = Replies(broker, "order-commits", "order-commands", "order-dead-letters")  # type: ignore[arg-type]
    envelope = Envelope("c9", "", "", b"", "", message.partition, message.offset, datetime.now(UTC), message=message)
    await outbox.dead_letters([(envelope, failure)])
    ((key, value, headers),) = broker.records
    size = sum(len(name) + len(text or b"") for name, text in headers) + len(key or b"") + len(value or b"")
    assert size < most, "the topic takes it"
    return [(name, value) for name, value in headers if name != "dl_time"]


async def test_control_headers_are_ours() -> None:
    """What a sender wrote into the headers that steer a dead letter is left out; all others are kept, as they came."""
    theirs: Any = [("ce_id", b"\xff"), ("dl_topic", b"projections-control"), ("x", None), ("dl_dropped", b"5")]
    headers = await kept(Message(3, 7, b"1", b"{", theirs, 1.0), Failure("Unreadable", "no"))
    reason = {"dl_type": b"Unreadable", "dl_message": b"no", "dl_id": b"c9", "dl_position": b"order-commands:3:7"}
    assert [("ce_id", b"\xff"), ("x", None), *reason.items()] == headers


async def test_a_letter_is_in_the_partition_of_its_command() -> None:
    """Those of one group may be of several; each says where its command stood, and those of one are in order."""
    broker = Kept()
    outbox = Replies(broker, "order-commits", "order-commands", "order-dead-letters")  # type: ignore[arg-type]
    messages = [Message(*place, b"1", b"{", [], 1.0) for place in ((3, 7), (5, 1), (3, 8))]
    await outbox.dead_letters([(unread_envelope(it, "c9"), Failure("Unreadable", "no")) for it in messages])
    positions = [dict(headers)["dl_position"] for _, _, headers in broker.records]
    assert [b"order-commands:3:7", b"order-commands:3:8", b"order-commands:5:1"] == positions
    assert [3, 3, 5] == broker.partitions


async def test_what_could_not_be_read_cannot_be_sent_again() -> None:
    """Of a record that could not be read its place is kept, marked as cut."""
    lost = Message(3, 7, None, None, (), -1, "it is not what zstd makes")
    headers = dict(await kept(lost, Failure("Unreadable", lost.unreadable)))
    assert (b"order-commands:3:7", b"0") == (headers["dl_position"], headers["dl_cut"])


async def test_a_letter_is_as_large_as_its_topic_takes() -> None:
    """Where the topic of dead letters takes less than that of commands, a letter is cut, and keeps nobody waiting."""
    large = Message(3, 7, b"k" * 400, b"x" * 200_000, [("a", b"y" * 90_000)], 1.0)
    headers = dict(await kept(large, Failure("TooLarge", "no"), most=50_000))
    assert (b"order-commands:3:7", True) == (headers["dl_position"], int(headers["dl_cut"]) > 290_000)


async def test_what_the_dead_letters_take_is_waited_for() -> None:
    """While Kafka does not say what its topic takes a letter is not cut by a guess, and the owner does not end."""

    class Silent(Kept):
        answers = 0

        async def largest(self, topic: str) -> int:
            self.answers += 1
            if self.answers < 3:
                raise KafkaConnectionError
            return await super().largest(topic)

    broker = Silent()
    outbox = Replies(broker, "order-commits", "order-commands", "order-dead-letters")  # type: ignore[arg-type]
    message = Message(3, 7, b"A-1", b"{}", [], 1.0)
    envelope = Envelope("c9", "", "", b"", "", message.partition, message.offset, datetime.now(UTC), message=message)
    await outbox.dead_letters([(envelope, Failure("Undecodable", "no"))])
    assert (3, 1) == (broker.answers, len(broker.records))
