"""The topics of the broker, and the settings that they have."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from streams.dev.broker.log import PartitionLog
from streams.dev.broker.store import Store

DEFAULTS = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "min.insync.replicas": "1",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}
"""The settings that a topic may have. Those of compaction, compression, size and segments change nothing here."""
_WHOLE = frozenset(name for name, value in DEFAULTS.items() if re.fullmatch("-?[0-9]+", value))
_WORDS = {
    "cleanup.policy": {"delete", "compact", "compact,delete", "delete,compact"},
    "message.timestamp.type": {"CreateTime", "LogAppendTime"},
}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
MOST_PARTITIONS = 10_000


class TopicRefused(Exception):
    """A topic that cannot be made, or changed, so. `code` is Kafka's number for that."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


UNKNOWN_TOPIC, INVALID_TOPIC, EXISTS, INVALID_PARTITIONS, INVALID_REPLICATION, INVALID_SETTING = 3, 17, 36, 37, 38, 40


@dataclass
class Topic:
    """Its settings are those that differ from the defaults."""

    id: str
    name: str
    settings: dict[str, str]
    logs: list[PartitionLog]

    def setting(self, name: str) -> str:
        return self.settings.get(name, DEFAULTS[name])

    @property
    def append_time(self) -> int | None:
        """What time it is, in milliseconds since 1970, where its records have the broker's time; else None."""
        return now_ms() if self.setting("message.timestamp.type") == "LogAppendTime" else None


class Topics:
    """All of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._topics = {
            kept.name: Topic(kept.id, kept.name, kept.settings, [PartitionLog(store, log) for log in kept.logs])
            for kept in store.topics()
        }

    @property
    def all(self) -> list[Topic]:
        return list(self._topics.values())

    def get(self, name: str) -> Topic | None:
        return self._topics.get(name)

    def log(self, topic: str, partition: int) -> PartitionLog | None:
        """A partition; None where there is none."""
        found = self._topics.get(topic)
        return found.logs[partition] if found is not None and 0 <= partition < len(found.logs) else None

    def create(
        self, name: str, partitions: int, copies: int, settings: Mapping[str, str | None], only_check: bool = False
    ) -> None:
        """Make a topic. -1 partitions or copies are one. Raises `TopicRefused`."""
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise TopicRefused(INVALID_TOPIC, f"{name!r} is no name of a topic")
        if name in self._topics:
            raise TopicRefused(EXISTS, f"the topic {name} exists")
        count = 1 if partitions == -1 else partitions
        if not 1 <= count <= MOST_PARTITIONS:
            raise TopicRefused(INVALID_PARTITIONS, f"a topic has 1 to {MOST_PARTITIONS} partitions")
        if copies not in (-1, 1):
            raise TopicRefused(INVALID_REPLICATION, "there is one broker, and one copy")
        checked = _checked(settings)
        if only_check:
            return
        id = uuid.uuid4().hex
        with self._store.at_once():
            self._store.add_topic(id, name, checked)
            logs = [self._store.add_log(id, partition) for partition in range(count)]
        self._topics[name] = Topic(id, name, checked, [PartitionLog(self._store, log) for log in logs])

    def grow(self, name: str, partitions: int, only_check: bool = False) -> None:
        """Have a topic have so many partitions. Raises `TopicRefused`."""
        topic = self._existing(name)
        if not len(topic.logs) < partitions <= MOST_PARTITIONS:
            raise TopicRefused(INVALID_PARTITIONS, f"{name} has {len(topic.logs)} partitions, and only gets more")
        if only_check:
            return
        with self._store.at_once():
            added = [self._store.add_log(topic.id, number) for number in range(len(topic.logs), partitions)]
        topic.logs += [PartitionLog(self._store, log) for log in added]

    def change_settings(self, name: str, settings: Mapping[str, str | None], only_check: bool = False) -> None:
        """Give a topic these settings instead of those that it has. Raises `TopicRefused`."""
        topic, checked = self._existing(name), _checked(settings)
        if not only_check:
            self._store.change_settings(topic.id, checked)
            topic.settings = checked

    def delete(self, name: str) -> None:
        """Raises `TopicRefused`."""
        topic = self._existing(name)
        with self._store.at_once():
            self._store.remove_topic(topic.id, name)
        del self._topics[name]
        for log in topic.logs:
            log.end_of_topic()

    def expire(self, now: int) -> None:
        """Remove what is older than its topic keeps it; `now` in milliseconds since 1970."""
        for topic in self._topics.values():
            kept_ms = int(topic.setting("retention.ms"))
            if kept_ms >= 0 and "delete" in topic.setting("cleanup.policy"):
                for log in topic.logs:
                    log.expire(now - kept_ms)

    def _existing(self, name: str) -> Topic:
        if (topic := self._topics.get(name)) is None:
            raise TopicRefused(UNKNOWN_TOPIC, f"there is no topic {name}")
        return topic


def _checked(settings: Mapping[str, str | None]) -> dict[str, str]:
    checked = {}
    for name, value in settings.items():
        if name not in DEFAULTS:
            raise TopicRefused(INVALID_SETTING, f"the setting {name} is not known here")
        if value is None:
            continue
        good = value in _WORDS[name] if name in _WORDS else name not in _WHOLE or re.fullmatch("-?[0-9]{1,18}", value)
        if not good:
            raise TopicRefused(INVALID_SETTING, f"{name}={value!r} cannot be")
        checked[name] = value
    return checked


def now_ms() -> int:
    """In milliseconds since 1970."""
    return int(time.time() * 1000)
