"""Keeps a worker to the newest layout of a type: by what is announced on the topic of logs, and by a look now and then.

An announcement only says that there is something to look at. Whoever changes a layout announces it at the seats of all
logs that there are or will be, so the workers that have them look at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from streams.journal.layout import Layout, LogSpan
from streams.journal.layout_follower import LayoutFollower
from streams.journal.port import Log
from streams.journal.slice_log import LayoutReader
from streams.kafka.client import KafkaClient, ProducerRecord


class Announcement(Protocol):
    """A record of the topic of logs."""

    @property
    def offset(self) -> int: ...


class LayoutWatch(LayoutFollower):
    """The layout of a type as a worker follows it. It is the receiver of the topic of logs."""

    def __init__(self, journal: Log, type: str, broker: KafkaClient, topic: str) -> None:
        self.reader = LayoutReader(journal, type)
        super().__init__(self.reader)
        self._journal = journal
        self._type = type
        self._broker = broker
        self._topic = topic
        self._covered: dict[int, int] = {}

    async def receive(self, partition: int, records: Sequence[Announcement]) -> None:
        self._covered[partition] = records[-1].offset + 1
        self.look_soon()

    def covered(self, partition: int) -> int | None:
        return self._covered.get(partition)

    async def note_seal(self, span: LogSpan, nr: int) -> None:
        """Write into the layout that a log ends with commit `nr`, and announce it. Raises `Unavailable`."""
        layout = self.reader.layout  # an older one is refused, and the newest is the answer
        while (sealed := layout.seal(span.number, nr)) is not layout:
            layout = await self._journal.change_layout(self._type, sealed)
        self.reader.note(layout)
        self.has_changed()
        await announce(self._broker, self._topic, layout)


async def announce(broker: KafkaClient, topic: str, layout: Layout) -> None:
    """Tell the workers of a type that its layout has changed."""
    record: ProducerRecord = None, b"%d" % layout.version, []
    await asyncio.gather(*(broker.publish(topic, seat, [record]) for seat in layout.seats))
