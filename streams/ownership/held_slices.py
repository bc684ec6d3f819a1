"""The slices of a log that are held: their commands wait, while the owner of the log decides those of the others.

A slice is held when one of its commands cannot be decided for a reason that is over some time, as for an event that
only a newer version can read. That command and all behind it in the slice come again from Kafka when the reason is
over, so nothing of them is kept meanwhile, and their order stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import Unavailable
from streams.ownership.waiting import WaitingLog

log = logging.getLogger(__name__)

AGAIN_SECONDS = 2.0
"""Between two attempts whether a slice can go on."""

Attempt = Callable[[], Awaitable[object]]
"""Raises `NotReadableYet` or `Unavailable` for as long as a slice has to wait."""


class CommandSource(Protocol):
    """Whoever brings the commands of the slices of a log."""

    def hold(self, slice: int) -> None:
        """Bring no more of a slice."""

    def go_on(self, slice: int, offset: int) -> None:
        """Bring a slice again, from this offset on."""


class HeldSlices:
    """The held slices of one owner."""

    def __init__(self, waiting: WaitingLog) -> None:
        self._waiting = waiting
        self._held: dict[int, tuple[WaitingLog, asyncio.Task[None]]] = {}

    @property
    def slices(self) -> Collection[int]:
        """Those that are held now."""
        return self._held.keys()

    @property
    def reasons(self) -> dict[int, str]:
        """Why they are, by slice."""
        return {slice: waiting.reason for slice, (waiting, _) in sorted(self._held.items())}

    def hold(self, slice: int, why: Exception, attempt: Attempt, go_on: Callable[[int], None]) -> None:
        """Hold a slice until `attempt` succeeds, which is made every 2 s; then `go_on` is called with it."""
        waiting = self._waiting.of_slice(slice)
        waiting.begin(why)
        task = asyncio.create_task(self._until_over(slice, waiting, attempt, go_on), name=f"holding {waiting.name}")
        self._held[slice] = waiting, task

    async def _until_over(
        self, slice: int, waiting: WaitingLog, attempt: Attempt, go_on: Callable[[int], None]
    ) -> None:
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                await attempt()
            except (NotReadableYet, Unavailable) as error:
                waiting.begin(error)
            except Exception:  # another reason: the owner meets it again, and knows what to do
                break
            else:
                break
        log.warning("%s waits no more", waiting.name)
        waiting.end()
        del self._held[slice]
        go_on(slice)

    def end(self) -> None:
        """Hold nothing any more: the owner reads no commands from here on."""
        for waiting, task in self._held.values():
            task.cancel()
            waiting.end()
        self._held.clear()
