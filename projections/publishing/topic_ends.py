"""How far streams are on their topics, for an app that does not publish them itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from aiokafka.errors import KafkaError

from projections.publishing.publication import COMMIT_END
from streams.journal.port import Unavailable
from streams.journal.position import stream_slice, stream_type
from streams.kafka.client import KafkaClient
from streams.kafka.published_through import published_place


class TopicEnds:
    """Looks at the ends of topics, at a record only where a topic has grown. `topic_of` has the topic of a type.

    All methods raise `Unavailable` where Kafka does not answer.
    """

    def __init__(self, broker: KafkaClient, topic_of: Callable[[str], str]) -> None:
        self._broker = broker
        self._topic_of = topic_of
        self._ends: dict[str, tuple[int, int]] = {}

    async def of(self, stream: str) -> tuple[int, int]:
        """The newest commit of a stream that its topic has whole, 0 for none; and the offset behind the last record."""
        topic, partition = self._topic_of(stream_type(stream)), stream_slice(stream)
        try:
            end = await self._broker.end_offset(topic, partition)
            nr, known = self._ends.get(stream, (0, 0))
            if end != known:
                record = await self._broker.last_record(
                    topic, partition, lambda record: published_place(record.headers, stream) is not None
                )
                place = published_place(record.headers, stream) if record is not None else None
                nr = 0 if place is None else place[0] if COMMIT_END in record.headers else place[0] - 1
                self._ends[stream] = nr, end
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the end of {topic}-{partition}: {error}") from error
        return nr, end

    async def age(self, stream: str, offset: int) -> float:
        """Seconds since the event at an offset was written; 0 where there is none."""
        topic, partition = self._topic_of(stream_type(stream)), stream_slice(stream)
        try:
            record = await self._broker.first_record(topic, partition, offset)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: a record of {topic}-{partition}: {error}") from error
        try:
            moment = datetime.fromisoformat(dict(record.headers)["ce_time"].decode())
            return max((datetime.now(UTC) - moment).total_seconds(), 0.0)
        except (KeyError, ValueError, TypeError):  # it is none of an owner's
            return 0.0
