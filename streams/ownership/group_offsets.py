"""How far commands are, told to Kafka for whoever looks at the lag of consumer groups. Nothing else depends on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from streams.concurrency.supervisor import Supervisor
from streams.kafka.client import Offsets
from streams.security.refusals import group_forbidden

log = logging.getLogger(__name__)

TELL_SECONDS = 5.0
ANSWER_SECONDS = 2.0


class GroupOffsets:
    """Tells Kafka, as the offsets of a group, what is `covered`, every 5 s, where it has moved. `commit` does so once.

    That Kafka does not answer does no harm: it is told the next time. That it may not be told is a trouble.
    """

    def __init__(
        self,
        group: str,
        covered: Callable[[], Offsets],
        commit: Callable[[str, Offsets], Awaitable[None]],
        supervisor: Supervisor,
    ) -> None:
        self._group = group
        self._covered = covered
        self._commit = commit
        self._supervisor = supervisor
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
                await self._commit(self._group, moved)
        except GroupAuthorizationFailedError:
            if self._supervisor.trouble(self._group, trouble := group_forbidden(self._group)):
                log.error("Kafka: %s", trouble)
            return
        except (KafkaError, OSError):
            return
        self._supervisor.well(self._group)
        self._told = covered
