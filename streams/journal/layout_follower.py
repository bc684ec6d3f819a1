"""Keeps a worker to the newest layout of a type: it is looked at when it may be another, and now and then."""

from __future__ import annotations

import asyncio
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
        self._must_look = False

    def look_soon(self) -> None:
        """It may be another than the one that is known."""
        self._must_look = True
        self._due.set()

    def has_changed(self) -> None:
        """Another one is known already."""
        self._due.set()

    async def follow(self, changed: Callable[[Layout], Awaitable[None]] | None = None) -> None:
        """Look for ever, and call `changed` with the newest layout, whether it is another or not. Raises `Unavailable`,
        and what `changed` raises; begun again, it looks at once."""
        while True:
            planned = bool(self._known.layout.planned)
            try:
                async with asyncio.timeout(LOOK_WHILE_PLANNED_SECONDS if planned else LOOK_SECONDS):
                    await self._due.wait()
            except TimeoutError:
                self._must_look = True
            must_look, self._must_look = self._must_look, False
            self._due.clear()
            try:
                layout = await self._known.look() if must_look else self._known.layout
                if changed is not None:
                    await changed(layout)
            except BaseException:
                self.look_soon()
                raise
