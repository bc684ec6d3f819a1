"""What administrators ask for: which topics and settings there are, new ones, and fewer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from streams.dev.broker.log import OffsetGone
from streams.dev.broker.topics import DEFAULTS, TopicRefused, Topics
from streams.dev.broker.wire import Asked

NODE = 0
"""The number of the only broker."""
NO_ERROR, OUT_OF_RANGE, UNKNOWN_TOPIC, INVALID_REQUEST = 0, 1, 3, 42
TOPIC, BROKER = 2, 4
"""Kinds of things that have settings."""
_SET, _DEFAULT = 1, 5
_ALL_RIGHTS = sum(1 << bit for bit in (3, 4, 5, 6, 7, 8, 10, 11))
_NOT_ASKED = -(2**31)
_LARGEST_REQUEST = {"message.max.bytes": DEFAULTS["max.message.bytes"], "auto.create.topics.enable": "false"}


class Administration:
    """Answers administrators, and all who ask where topics are."""

    def __init__(self, topics: Topics, cluster_id: str, host: str) -> None:
        self._topics = topics
        self._cluster_id = cluster_id
        self._host = host
        self.port = 0
        """Where the broker listens; known when it does."""

    def coordinator(self, asked: Asked) -> bytes:
        """It is this one, of groups. There is none of transactions."""
        if not asked.version:
            return asked.answer(NO_ERROR, NODE, self._host, self.port)
        if asked.body.coordinator_type:
            return asked.answer(0, INVALID_REQUEST, "there are no transactions here", -1, "", -1)
        return asked.answer(0, NO_ERROR, None, NODE, self._host, self.port)

    def metadata(self, asked: Asked) -> bytes:
        """Topics, of which it leads every partition; those that are not there are not made."""
        if asked.version == 12:
            return self._metadata_with_ids(asked)
        names = asked.body.topics
        if names is None or (not names and not asked.version):
            names = [topic.name for topic in self._topics.all]
        internal: tuple[Any, ...] = (False,) if asked.version else ()
        offline: tuple[Any, ...] = ([],) if asked.version > 4 else ()
        topics = []
        for name in names:
            topic = self._topics.get(name)
            count = range(len(topic.logs)) if topic else ()
            partitions = [(NO_ERROR, number, NODE, [NODE], [NODE], *offline) for number in count]
            topics.append((NO_ERROR if topic else UNKNOWN_TOPIC, name, *internal, partitions))
        rack, controller = (None,) if asked.version else (), (NODE,) if asked.version else ()
        throttle, cluster = (0,) if asked.version > 2 else (), (self._cluster_id,) if asked.version > 1 else ()
        return asked.answer(*throttle, [(NODE, self._host, self.port, *rack)], *cluster, *controller, topics)

    def _metadata_with_ids(self, asked: Asked) -> bytes:
        body = asked.body
        names = [topic.name for topic in self._topics.all] if body.topics is None else [it[1] for it in body.topics]
        rights = _ALL_RIGHTS if body.include_topic_authorized_operations else _NOT_ASKED
        topics: list[Any] = []
        for name in names:
            topic = self._topics.get(name)
            if topic is None:
                topics.append((UNKNOWN_TOPIC, name, uuid.UUID(int=0), False, [], _NOT_ASKED, {}))
                continue
            partitions: list[Any] = [(NO_ERROR, it, NODE, 0, [NODE], [NODE], [], {}) for it in range(len(topic.logs))]
            topics.append((NO_ERROR, name, uuid.UUID(topic.id), False, partitions, rights, {}))
        brokers: list[Any] = [(NODE, self._host, self.port, None, {})]
        return asked.answer(0, brokers, self._cluster_id, NODE, topics, {})

    def create(self, asked: Asked) -> bytes:
        only_check = bool(asked.version and asked.body.validate_only)

        def create(name: str, partitions: int, copies: int, placed: Any, settings: Any) -> None:
            count, copies = (len(placed), 1) if placed else (partitions, copies)
            self._topics.create(name, count, copies, dict(settings or ()), only_check)

        results = [(it[0], *_outcome(create, *it)) for it in asked.body.create_topic_requests]
        if not asked.version:
            return asked.answer([(name, code) for name, code, _ in results])
        return asked.answer(*((0,) if asked.version > 1 else ()), results)

    def delete(self, asked: Asked) -> bytes:
        results = [(name, _outcome(self._topics.delete, name)[0]) for name in asked.body.topics]
        return asked.answer(*((0,) if asked.version else ()), results)

    def grow(self, asked: Asked) -> bytes:
        """More partitions."""
        body = asked.body
        results = [
            (name, *_outcome(self._topics.grow, name, count, bool(body.validate_only)))
            for name, (count, _) in body.topic_partitions
        ]
        return asked.answer(0, results)

    def delete_records(self, asked: Asked) -> bytes:
        """Those before an offset; -1 for all."""
        topics = [
            (topic, [(number, *self._removed(topic, number, before)) for number, before in partitions])
            for topic, partitions in asked.body.topics
        ]
        return asked.answer(0, topics)

    def _removed(self, topic: str, partition: int, before: int) -> tuple[int, int]:
        """Where the partition begins then, and the error."""
        log = self._topics.log(topic, partition)
        if log is None:
            return -1, UNKNOWN_TOPIC
        try:
            log.remove_before(log.end if before == -1 else before)
        except OffsetGone:
            return -1, OUT_OF_RANGE
        return log.start, NO_ERROR

    def settings(self, asked: Asked) -> bytes:
        return asked.answer(0, [self._settings(asked, *it) for it in asked.body.resources])

    def _settings(self, asked: Asked, kind: int, name: str, wanted: Iterable[str] | None) -> tuple[Any, ...]:
        topic = self._topics.get(name) if kind == TOPIC else None
        if kind not in (TOPIC, BROKER) or (kind == TOPIC and topic is None):
            return UNKNOWN_TOPIC, f"there is no {name}", kind, name, []
        known = DEFAULTS if topic is not None else _LARGEST_REQUEST
        own = topic.settings if topic is not None else {}
        names = [it for it in known if wanted is None or it in set(wanted)]
        entries = [_entry(asked, it, own.get(it, known[it]), it in own) for it in names]
        return NO_ERROR, None, kind, name, entries

    def change_settings(self, asked: Asked) -> bytes:
        results = []
        for kind, name, entries in asked.body.resources:
            if kind == TOPIC:
                change = self._topics.change_settings
                code, reason = _outcome(change, name, dict(entries), bool(asked.body.validate_only))
            else:
                code, reason = INVALID_REQUEST, "only topics have settings that can be changed"
            results.append((code, reason, kind, name))
        return asked.answer(0, results)


def _entry(asked: Asked, name: str, value: str, is_set: bool) -> tuple[Any, ...]:
    if not asked.version:
        return name, value, False, not is_set, False
    return name, value, False, _SET if is_set else _DEFAULT, False, []


def _outcome(change: Callable[..., None], *arguments: Any) -> tuple[int, str | None]:
    """Error and reason of what was done."""
    try:
        change(*arguments)
    except TopicRefused as refused:
        return refused.code, str(refused)
    return NO_ERROR, None
