"""Events that wait behind a projection that raised, each with what it waits for: for people to look at."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from projections.applying.event_reader import Event
from streams.kafka.client import KafkaClient, ProducerRecord, RecordTooLarge
from streams.notices import say_error

log = logging.getLogger(__name__)


class ProjectionDeadLetters:
    """A topic that has the events as they were published, with the headers `dl_table`, `dl_key` and `dl_reason`.

    The log has them too, and from there a row is folded anew when its projection has been mended; so one that stands
    here twice, after a crash, does no harm.
    """

    def __init__(self, topic: str, broker: KafkaClient) -> None:
        self._topic = topic
        self._broker = broker

    async def keep(self, partition: int, table: str, waiting: Sequence[tuple[Event, str, str]]) -> None:
        """Durable on return. What the topic does not take whole is kept without the event: the log has it."""
        records: list[ProducerRecord] = [
            (
                event.source.key,
                event.source.value,
                [
                    *event.source.headers,
                    ("dl_table", table.encode()),
                    ("dl_key", key.encode()),
                    ("dl_reason", reason.encode()),
                ],
            )
            for event, key, reason in waiting
        ]
        while records:
            try:
                await self._broker.publish(self._topic, partition, records, refuse=True)
                return
            except RecordTooLarge as error:
                (key, value, headers), *rest = records[error.sent :]
                named = [header for header in headers if header[0] in _NAMES]
                if value or len(named) < len(headers):
                    records = [(key, b"", named), *rest]
                else:
                    say_error(
                        log,
                        "letter-too-large",
                        self._topic,
                        "%s-%d takes no letter about %r: %s; its key waits all the same",
                        self._topic,
                        partition,
                        key,
                        error,
                    )
                    records = rest


_NAMES = ("ce_id", "ce_type", "ce_position", "ce_time", "dl_table", "dl_key", "dl_reason")
"""What says which event waits, and why."""
