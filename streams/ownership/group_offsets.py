"""How far commands are, told to Kafka for whoever looks at the lag of consumer groups. Nothing else depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError

from streams.kafka.client import Offsets

TELL_SECONDS = 5.0
ANSWER_SECONDS = 2.0


class GroupOffsets:
    """Tells Kafka what is `covered`, every 5 s, where it has moved. `commit` does so once.

    That Kafka does not answer does no harm: it is told the next time.
    """

    def __init__(self, covered: Callable[[], Offsets], commit: Callable[[Offsets], Awaitable[None]]) -> None:
        self._covered = covered
        self._commit = commit
        self._told: Offsets = {}

    async def run(self) -> None:
        """Tell it for ever."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self.tell()

    async def tell(self) -> None:
        """Tell it now."""
        covered = {topic: dict(offsets) for topic, offsets in self._covered().items() if offsets}
        moved = {topic: offsets for topic, offsets in covered.items() if self._told.get(topic) != offsets}
        if not moved:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._commit(moved)
        except (KafkaError, OSError):
            return
        self._told = covered
