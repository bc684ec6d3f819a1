"""Has the keys of persons renewed when that is due, by the worker that owns the first slice of a type.

Several may be at it, of several contexts or in a rebalance: a renewal may be raced, and cut short at any point. What
fails does not keep the worker from deciding commands: health shows it among the limits, and a notice and a metric say
it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from streams.keys.keys import Keys
from streams.moments import now
from streams.notices import NOTICES, warn
from streams.observability import catalog
from streams.observability.instruments import Instruments

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks whether it is due."""
DONE, FAILED = "done", "failed"


class KeyRenewal:
    """Renews for as long as `is_mine` says that this worker does."""

    def __init__(self, keys: Keys, is_mine: Callable[[], bool], instruments: Instruments | None = None) -> None:
        instruments = instruments or Instruments()
        self._keys = keys
        self._is_mine = is_mine
        self._age = instruments.gauge(catalog.KEY_PERIOD_AGE)
        self._renewals = instruments.counter(catalog.KEY_RENEWALS)
        for outcome in (DONE, FAILED):
            self._renewals.of(outcome)
        self.limit = ""
        """Why keys are not renewed, in a line; empty while all is well."""

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Renew if it is this worker's turn, and due. Raises nothing: what fails is said, and tried again."""
        if not self._is_mine():
            self._well()
            self._age.remove()
            return
        try:
            done = await self._keys.renew_if_due()
            began = await self._keys.period_began()
        except Exception as error:  # whatever store and key management raise: commands are decided all the same
            self._failed(error)
            return
        self._well()
        if done is not None:
            self._renewals.add(1, DONE)
            text = "keys of persons: period %d, %d keys wrapped anew, those of periods %s destroyed"
            log.warning(text, done.period, done.wrapped, done.destroyed or "none")
        if began is not None:
            self._age.set((now() - began).total_seconds())

    def _well(self) -> None:
        if self.limit:
            NOTICES.over("keys-not-renewed", "")
            self.limit = ""

    def _failed(self, error: Exception) -> None:
        self._renewals.add(1, FAILED)
        reason = f"{type(error).__name__}: {error}"
        self.limit = f"keys of persons cannot be renewed: {reason}"
        text = "keys of persons cannot be renewed: those who were forgotten are readable in backups for longer: %s"
        warn(log, "keys-not-renewed", "", text, reason)
