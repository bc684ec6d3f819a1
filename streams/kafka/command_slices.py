"""The slices of a command topic that one log has, for its owner."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.errors import KafkaError

from streams.journal.port import Unavailable
from streams.journal.position import Position, stream_name
from streams.kafka.client import KafkaClient
from streams.kafka.published_through import journal_is_behind, published_place
from streams.kafka.topic_metadata import TopicMetadata


class CommandSlices:
    """Some partitions of a command topic, and of the topic `events` to which their journal is published; an empty name
    stands for a type without events. All methods raise `Unavailable`."""

    def __init__(self, client: KafkaClient, topic: str, slices: Collection[int], events: str = "") -> None:
        self._client = client
        self._topic = topic
        self._slices = slices
        self._events = events

    async def ends(self) -> Mapping[int, int]:
        """The offset that the next command of each slice gets; of a slice without a leader nobody can say."""
        return await self._ends(self._topic, await self._describe(self._topic))

    async def topic_id(self) -> str:
        """The incarnation of the topic, empty where there is none."""
        topic = await self._describe(self._topic)
        return "" if topic is None else topic.id

    async def check_unpublished(self, type: str, after: int) -> None:
        """Raise `Unavailable` where an event of commit `after` + 1 or a later one was published in any of the slices:
        their log, which begins there, has none.

        A log that goes on from others need not wait for a partition without a leader: their seals are of this journal.
        """
        if not self._events:
            return
        topic = await self._describe(self._events)
        without = frozenset() if topic is None else topic.without_leader.intersection(self._slices)
        if not after and without:
            raise Unavailable(f"Kafka: no leader of {self._events}-{min(without)}, which may have events")
        slices = [slice for slice in self._slices if slice not in without]

        def is_published(slice: int, record: Any) -> bool:  # others may write to the topic too
            return published_place(record.headers, stream_name(type, slice)) is not None

        try:
            found = await self._client.last_records(self._events, slices, is_published)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the last events of {self._events}: {error!r}") from None
        for slice, record in found.items():
            stream = stream_name(type, slice)
            place = published_place(record.headers, stream) if record is not None else None
            if place is not None and place[0] > after:
                raise Unavailable(journal_is_behind(Position(stream, *place), after))

    async def gap_is_empty(self, slice: int, start: int, end: int) -> bool:
        """Whether no command of a slice has start <= offset < end; False also when Kafka does not answer."""
        return await self._client.gap_is_empty(self._topic, slice, start, end)

    async def _describe(self, topic: str) -> TopicMetadata | None:
        try:
            return (await self._client.describe([topic])).get(topic)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: the id of {topic}: {error!r}") from None

    async def _ends(self, topic: str, described: TopicMetadata | None) -> Mapping[int, int]:
        without = frozenset() if described is None else described.without_leader
        try:
            return await self._client.end_offsets(topic, [slice for slice in self._slices if slice not in without])
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: where {topic} ends: {error!r}") from None
