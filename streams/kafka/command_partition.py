"""A partition of a command topic, for the owner of its log."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from streams.journal.port import Unavailable
from streams.journal.position import Position
from streams.kafka.client import KafkaClient
from streams.kafka.published_through import journal_is_behind, published_place


class CommandPartition:
    """A partition of a command topic, and of the topic `events` to which its journal is published; an empty name stands
    for a type without events. All methods raise `Unavailable`."""

    def __init__(self, client: KafkaClient, topic: str, partition: int, events: str = "") -> None:
        self._client = client
        self._topic = topic
        self._partition = partition
        self._events = events

    async def end(self) -> int:
        """The offset that the next command gets."""
        try:
            return await self._client.end_offset(self._topic, self._partition)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the end of {self._topic}-{self._partition}: {error!r}") from None

    async def topic_id(self) -> str:
        """The incarnation of the topic, empty where there is none."""
        try:
            topic = (await self._client.describe([self._topic])).get(self._topic)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the id of {self._topic}: {error!r}") from None
        return "" if topic is None else topic.id

    async def check_unpublished(self, stream: str) -> None:
        """Raise `Unavailable` where an event of this stream was published."""
        if not self._events:
            return
        try:
            if await self._client.end_offset(self._events, self._partition) == 0:
                return
            record = await self._client.last_record(
                self._events, self._partition, lambda record: published_place(record.headers, stream) is not None
            )
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the last event of {self._events}-{self._partition}: {error!r}") from None
        place = published_place(record.headers, stream) if record is not None else None
        if place is not None:
            raise Unavailable(journal_is_behind(Position(stream, *place), 0))

    async def gap_is_empty(self, start: int, end: int) -> bool:
        """Whether no command has start <= offset < end; False also when Kafka does not answer."""
        return await self._client.gap_is_empty(self._topic, self._partition, start, end)
