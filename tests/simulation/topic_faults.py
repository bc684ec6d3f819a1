"""Topics that are deleted and made again, or lose what was on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from projections.stores.local.tables import RECORD_OVERHEAD
from tests.simulation.topics import (
    CHANGELOG,
    COMMANDS_TOPIC,
    DEAD_LETTERS_TOPIC,
    EVENTS_TOPIC,
    PROJECTION_LETTERS_TOPIC,
)

if TYPE_CHECKING:
    from tests.simulation.world import World

TOPIC_GONE_SECONDS = 2.0
MOST_LOST = 3
ROWS = RECORD_OVERHEAD + 50, RECORD_OVERHEAD + 90, RECORD_OVERHEAD + 130
"""Bytes with which a changelog takes a few rows, about half of them, and most."""
REFUSING = {CHANGELOG: ROWS, EVENTS_TOPIC: (120, 600), DEAD_LETTERS_TOPIC: (120, 500), PROJECTION_LETTERS_TOPIC: (400,)}
"""Bytes of the largest batch that topics take when they take less: not all at once, or next to nothing."""
REFUSED_SECONDS = 1.0, 5.0, 12.0


class TopicFaults:
    """Of commands and events."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._healed = False

    def start(self) -> bool:
        """Draw what will happen; whether the commands will be deleted."""
        world, random = self._world, self._world.random
        if random.random() < 0.2:
            world.loop.outside(random.uniform(2, 10), self._delete, EVENTS_TOPIC)
        if random.random() < 0.1:
            world.loop.outside(random.uniform(2, 8), self._delete_commands)
            return True
        return False

    def heal(self) -> None:
        """All topics are there, and lose nothing any more."""
        self._healed = True
        self._make(COMMANDS_TOPIC)
        self._make(EVENTS_TOPIC)
        self._world.kafka.limits.clear()

    def refuse(self) -> None:
        """A topic takes less than it did, until somebody looks."""
        world, random = self._world, self._world.random
        topic, limit = random.choice([(topic, limit) for topic, limits in REFUSING.items() for limit in limits])
        world.note("takes less", topic, limit)
        world.kafka.limits[topic] = limit
        world.loop.outside(random.choice(REFUSED_SECONDS), self._take_again, topic)

    def _take_again(self, topic: str) -> None:
        self._world.note("takes all", topic)
        self._world.kafka.limits.pop(topic, None)

    def forget_events(self) -> None:
        """Retention removes the oldest records of an events topic, or some of it are lost."""
        world, random = self._world, self._world.random
        topic = world.kafka.topics.get(EVENTS_TOPIC)
        if topic is None:
            return
        number = random.randrange(len(topic.partitions))
        log = topic.partitions[number]
        if random.random() < 0.5:
            log.first = random.choice((random.randint(log.first, len(log.records)), len(log.records)))
            world.note("removed", EVENTS_TOPIC, number, log.first)
        elif (last := _last_event(log.records)) > log.first:  # without an event that follows nobody could tell
            offset = random.randrange(log.first, last)
            log.lost.update(range(offset, min(offset + random.randint(1, MOST_LOST), last)))
            world.note("lost", EVENTS_TOPIC, number, *sorted(log.lost))

    def _delete_commands(self) -> None:
        """While partitions change hands, or soon after."""
        world = self._world
        world.command_group.rebalance()
        world.loop.outside(world.random.uniform(0.0, 2.0), self._delete, COMMANDS_TOPIC)

    def _delete(self, topic: str) -> None:
        world = self._world
        if not self._healed:
            world.note("topic deleted", topic)
            world.kafka.delete(topic)
            if topic == COMMANDS_TOPIC:
                world.command_group.rebalance()
            world.loop.outside(TOPIC_GONE_SECONDS, self._make, topic)

    def _make(self, topic: str) -> None:
        world = self._world
        if topic not in world.kafka.topics:
            world.note("topic made", world.kafka.create(topic, world.shape.partitions).id)
            if topic == COMMANDS_TOPIC:
                world.command_group.rebalance()


def _last_event(records: Sequence[Any]) -> int:
    """The offset of the last record that a tail has written; -1 where there is none."""
    for offset in range(len(records) - 1, -1, -1):
        headers = dict(records[offset].headers)
        if headers.get("ce_id", b"") == headers.get("ce_position"):
            return offset
    return -1
