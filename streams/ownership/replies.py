"""The outbox of the owners of one aggregate type, on Kafka."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from aiokafka.errors import KafkaError

from streams.concurrency.retry import until_it_answers
from streams.deciding.messages import CONTROL, Envelope, Failure
from streams.kafka.client import KafkaClient, ProducerRecord

AROUND_BYTES = 1_024
"""What is around a record in its batch."""
TRACE_BYTES = 8 * 1024


class KafkaReplies:
    """The outbox of the owners of one aggregate type."""

    def __init__(self, broker: KafkaClient, commits_topic: str, commands_topic: str, dead_letters_topic: str) -> None:
        self._broker = broker
        self._commits = commits_topic
        self._commands = commands_topic
        self._dead_letters = dead_letters_topic

    async def dead_letters(self, partition: int, letters: Sequence[tuple[Envelope, Failure]]) -> None:
        """Keep the original bytes and headers, with reason, time and place added as `dl_` headers.

        What is too large for a Kafka message, as it came compressed, is cut: `dl_cut` has its size. `dl_trace` is
        where the domain raised, `dl_quarantine` says that the aggregate is in quarantine for it, `dl_id` is the
        command's id, also when it brought none. A sender's own headers of such names are left out.
        """
        most = await until_it_answers(
            partial(self._broker.largest, self._dead_letters),
            f"Kafka: what {self._dead_letters} takes",
            (KafkaError, TimeoutError),
        )
        most -= AROUND_BYTES
        time_now = str(int(time.time() * 1000)).encode()
        records: list[ProducerRecord] = []
        for envelope, failure in letters:
            message = envelope.message
            assert message is not None, "it came from Kafka"
            reason = [
                ("dl_type", failure.type.encode()),
                ("dl_message", failure.message.encode(errors="replace")[:4096]),
                ("dl_time", time_now),
                ("dl_id", envelope.id.encode()),
                ("dl_position", f"{self._commands}:{partition}:{message.offset}".encode()),
            ]
            if failure.trace:
                reason.append(("dl_trace", failure.trace.encode(errors="replace")[-TRACE_BYTES:]))
            if failure.quarantines:
                reason.append(("dl_quarantine", b"1"))
            if message.unreadable:  # it is on the command topic only, as long as that keeps it
                reason.append(("dl_cut", b"0"))
            theirs = [(name, value) for name, value in message.headers if not name.startswith(CONTROL)]
            records.append(fitting(message.key, message.value, theirs, reason, most))
        await self._broker.publish(self._dead_letters, partition, records)

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        await self._broker.reply(replies)

    def hint(self, partition: int, nr: int) -> None:
        self._broker.hint(self._commits, partition, nr)


def fitting(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], reason: list[tuple[str, bytes]], most: int
) -> ProducerRecord:
    """A record no larger than `most` bytes: without the headers, and the end of key and value, that do not fit."""

    def size(headers: list[tuple[str, bytes]]) -> int:
        return sum(len(name.encode()) + len(text or b"") + 10 for name, text in headers)

    whole = len(key or b"") + len(value or b"") + size(headers)
    room = max(most - size(reason), 0)
    if whole <= room:
        return key, value, [*headers, *reason]
    if size(headers) > room // 4:
        headers = []
    key = key[: room // 4] if key else key
    room -= size(headers) + len(key or b"")
    return key, value[:room] if value else value, [*headers, *reason, ("dl_cut", b"%d" % whole)]
