"""Keeps a worker to the newest layout of a type: it is looked at when it may be another, and now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from streams.journal.layout import Layout
from streams.journal.slice_log import KnownLayout

LOOK_SECONDS = 30.0
"""Between two looks when nothing says that it is another."""
LOOK_WHILE_PLANNED_SECONDS = 1.0
"""Likewise while logs are about to begin: slices may stand still for them."""


class LayoutFollower:
    """Looks at one layout, for owners, tails and tables alike."""

    def __init__(self, known: KnownLayout) -> None:
        self._known = known
        self._due = asyncio.Event()

    def look_soon(self) -> None:
        """It may be another than the one that is known."""
        self._due.set()

    async def follow(self, changed: Callable[[Layout], Awaitable[None]] | None = None) -> None:
        """Look for ever, and call `changed` with the newest layout, whether it is another or not. Raises `Unavailable`,
        and what `changed` raises; begun again, it looks at once."""
        while True:
            planned = bool(self._known.layout.planned)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_WHILE_PLANNED_SECONDS if planned else LOOK_SECONDS):
                    await self._due.wait()
            self._due.clear()
            try:
                layout = await self._known.look()
                if changed is not None:
                    await changed(layout)
            except BaseException:
                self._due.set()
                raise
