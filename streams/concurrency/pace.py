"""A pace for who asks again and again for what comes: once little things come fast, he takes some at a time.

What a turn costs (a request, its answer, the waking of whoever waits, here and in the servers) is the same for one
thing as for ten. At a few things a second each is to be had at once; at some hundred a second it is the turns that keep
the machine from doing the work.
"""

from __future__ import annotations

import asyncio

AT_ONCE, MOST_AT_ONCE = 3, 200
"""So many turns in quick succession do not wait: what comes now and then may come in pieces. Where waiting has brought
no company, as for one who asks again when he has his answer, it is tried more and more seldom."""
ENOUGH = 16
"""A turn that has brought as many things has no need of company."""


class Pace:
    """Has turns that follow one another fast begin `seconds` apart, at times that all of a machine have in common, so
    that they wake the servers together. One that comes alone does not wait."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = float("-inf")
        self._quick = 0
        """How many turns in a row have come sooner."""
        self._patience = AT_ONCE
        self._has_waited = False

    async def keep(self, count: int) -> None:
        """Call it before each turn, with the number of things that the one before it has brought."""
        loop = asyncio.get_running_loop()
        if self._has_waited:
            self._patience = AT_ONCE if count > 1 else min(2 * self._patience, MOST_AT_ONCE)
            self._quick = self._quick if count > 1 else 0
        now = loop.time()
        self._quick = self._quick + 1 if 0 < count < ENOUGH and now < self._last + self._seconds else 0
        self._has_waited = self._quick > self._patience
        if self._has_waited:
            await asyncio.sleep(self._seconds - now % self._seconds)
        self._last = loop.time()
