"""Writing: what producers send is appended as it came, or refused as Kafka refuses it."""

from __future__ import annotations

from typing import Any

from streams.dev.broker.batches import BadBatch, batches
from streams.dev.broker.log import PartitionLog
from streams.dev.broker.producers import OutOfOrder, Superseded
from streams.dev.broker.store import Store
from streams.dev.broker.topics import Topic, Topics
from streams.dev.broker.wire import Asked

NO_ERROR, CORRUPT, UNKNOWN_PARTITION, TOO_LARGE, NOT_ENOUGH_COPIES = 0, 2, 3, 10, 19
INVALID_REQUEST, FOREIGN_FORMAT, OUT_OF_ORDER, SUPERSEDED = 42, 43, 45, 47
_STARTS_SINCE = 5
_NOWHERE = -1


class Writing:
    """Answers those who write."""

    def __init__(self, store: Store, topics: Topics) -> None:
        self._store = store
        self._topics = topics

    def produce(self, asked: Asked) -> bytes | None:
        """Append; no answer for a producer that wants none."""
        body = asked.body
        written: list[PartitionLog] = []
        with self._store.at_once():
            topics = [
                (topic, [self._append(asked, topic, partition, data, written) for partition, data in partitions])
                for topic, partitions in body.topics
            ]
        for log in written:
            log.wake()
        return asked.answer(topics, 0) if body.required_acks else None

    def _append(
        self, asked: Asked, topic: str, partition: int, data: bytes | None, written: list[PartitionLog]
    ) -> tuple[Any, ...]:
        found, log = self._topics.get(topic), self._topics.log(topic, partition)
        code, offset, time, start = UNKNOWN_PARTITION, _NOWHERE, _NOWHERE, _NOWHERE
        if found is not None and log is not None:
            code, offset, time = _written(found, log, data, asked.body.required_acks)
            start = log.start
            written.append(log)
        return (partition, code, offset, time, *((start,) if asked.version >= _STARTS_SINCE else ()))

    def new_producer(self, asked: Asked) -> bytes:
        """A number for a producer; none for one that has transactions, which there are not here."""
        if asked.body.transactional_id is not None:
            return asked.answer(0, INVALID_REQUEST, -1, -1)
        return asked.answer(0, NO_ERROR, self._store.new_producer(), 0)


def _written(topic: Topic, log: PartitionLog, data: bytes | None, acks: int) -> tuple[int, int, int]:
    """Append to a partition. Returns error, offset and time; none is appended where one cannot be."""
    if acks == -1 and int(topic.setting("min.insync.replicas")) > 1:
        return NOT_ENOUGH_COPIES, _NOWHERE, _NOWHERE
    most, append_time = int(topic.setting("max.message.bytes")), topic.append_time
    try:
        found = list(batches(data))
        if any(len(batch.data) > most for batch in found):
            return TOO_LARGE, _NOWHERE, _NOWHERE
        offsets = [log.append(batch, append_time) for batch in found]
    except BadBatch as error:
        return FOREIGN_FORMAT if error.is_foreign else CORRUPT, _NOWHERE, _NOWHERE
    except OutOfOrder:
        return OUT_OF_ORDER, _NOWHERE, _NOWHERE
    except Superseded:
        return SUPERSEDED, _NOWHERE, _NOWHERE
    return NO_ERROR, offsets[0], _NOWHERE if append_time is None else append_time
