"""What an owner sends to Kafka: replies, dead letters, and hints for the tailer."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from aiokafka.errors import KafkaError

from schemas.sealing import with_keys
from streams.concurrency.retry import until_it_answers
from streams.deciding.messages import CONTROL, Envelope, Failure, Message, drop_marker
from streams.deciding.personal_commands import SEALED_FOR, PersonalCommands
from streams.journal.commit_hint import encode_hint
from streams.journal.port import Commit, Unavailable
from streams.kafka.client import KafkaClient, ProducerRecord

AROUND_BYTES = 1_024
"""Room for what a batch adds to its record."""
TRACE_BYTES = 8 * 1024


class Replies:
    """Sends what the owners of one aggregate type send; all of it may be sent again after a crash."""

    def __init__(
        self,
        broker: KafkaClient,
        commits_topic: str,
        commands_topic: str,
        dead_letters_topic: str,
        hint_key: Callable[[], str] = lambda: "",
        personal: PersonalCommands | None = None,
    ) -> None:
        self._broker = broker
        self._hint_key = hint_key
        self._commits = commits_topic
        self._commands = commands_topic
        self._dead_letters = dead_letters_topic
        self._personal = personal

    async def dead_letters(self, letters: Sequence[tuple[Envelope, Failure]]) -> None:
        """Publish these commands as dead letters, each in the partition of its slice; durable on return. Waits for
        Kafka as long as it takes.

        A letter has the original bytes and headers, with reason, time and place as `dl_` headers. One that is too large
        for a Kafka message, as it came compressed, is cut: `dl_cut` has its size. `dl_trace` is where the domain
        raised, `dl_quarantine` says that the aggregate is in quarantine for it, `dl_id` is the command's id, also when
        it brought none. A sender's own headers of such names are left out. Of a type with personal data the value is
        sealed: see `PersonalCommands`.
        """
        largest = await until_it_answers(
            partial(self._broker.largest, self._dead_letters),
            f"Kafka: the largest record of {self._dead_letters}",
            (KafkaError, TimeoutError),
        )
        time_now = str(int(time.time() * 1000)).encode()
        records: dict[int, list[ProducerRecord]] = defaultdict(list)
        for envelope, failure in letters:
            message = await self._kept(envelope)
            reason = [
                ("dl_type", failure.type.encode()),
                ("dl_message", failure.message.encode(errors="replace")[:4096]),
                ("dl_time", time_now),
                ("dl_id", envelope.id.encode()),
                ("dl_position", f"{self._commands}:{message.partition}:{message.offset}".encode()),
            ]
            if failure.trace:
                reason.append(("dl_trace", failure.trace.encode(errors="replace")[-TRACE_BYTES:]))
            if failure.quarantines:
                reason.append(("dl_quarantine", b"1"))
            if message.unreadable:  # it is on the command topic only, as long as that keeps it
                reason.append(("dl_cut", b"0"))
            reason += [header for header in message.headers if self._personal is not None and header[0] == SEALED_FOR]
            headers = [(name, value) for name, value in message.headers if not name.startswith(CONTROL)]
            letter = fitting(message.key, message.value, headers, reason, largest - AROUND_BYTES)
            records[message.partition].append(letter)
        await asyncio.gather(*(self._broker.publish(self._dead_letters, *batch) for batch in records.items()))

    async def _kept(self, envelope: Envelope) -> Message:
        """The message of a command as a dead letter may have it."""
        message, personal = envelope.message, self._personal
        assert message is not None, "it came from Kafka"
        if personal is None:
            return message
        seal = partial(with_keys, personal.sealer, partial(personal.sealed_if_known, message, envelope))
        return await until_it_answers(seal, f"{self._dead_letters}: fetching keys", Unavailable)

    async def drop(self, places: Sequence[tuple[int, int]]) -> None:
        """Have the dead letters at these (partition, offset) off the list; durable on return. Waits for Kafka as long
        as it takes."""
        now = time.time()
        records: dict[int, list[ProducerRecord]] = defaultdict(list)
        for partition, offset in places:
            records[partition].append((None, None, drop_marker(offset, now)))
        await asyncio.gather(*(self._broker.publish(self._dead_letters, *batch) for batch in records.items()))

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        """Send (topic, key, value) in the background; waits while too many are on their way."""
        await self._broker.reply(replies)

    def hint(self, seat: int, commit: Commit, previous: Commit | None = None) -> None:
        """Tell the tailer of the log with this seat, in the background, that a commit is written: see `encode_hint`."""
        self._broker.hint(self._commits, seat, encode_hint(commit, previous, self._hint_key()))


def fitting(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], reason: list[tuple[str, bytes]], most: int
) -> ProducerRecord:
    """A record of at most `most` bytes: headers, and the ends of key and value, that do not fit are left out."""

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
