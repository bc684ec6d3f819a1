"""The servers of one PostgreSQL database, of which one takes writes, and another does after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import asyncpg

_ANOTHER = (
    OSError,  # TimeoutError is one
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What the next server may do better."""


class Servers:
    """Connects to the server that takes writes. asyncpg can try several as well, but within one time limit: a host that
    does not answer at all would be the only one that is tried."""

    def __init__(self, places: Iterable[tuple[str, int]], **options: Any) -> None:
        """`places` are hosts and ports, `options` those of `asyncpg.connect`."""
        self._places = deque(places)
        self._options = {**options, "target_session_attrs": "read-write" if len(self._places) > 1 else "any"}

    async def connect(self) -> asyncpg.Connection:
        """A connection to the server that was the right one last, or to the next one that is. Raises the error of the
        first that failed otherwise than by taking no writes."""
        failed: list[Exception] = []
        for _ in range(len(self._places)):
            host, port = place = self._places[0]
            try:
                return await asyncpg.connect(host=host, port=port, **self._options)
            except _ANOTHER as error:
                failed.append(error)
                if self._places[0] == place:  # of several that connect at once one turns to the next
                    self._places.rotate(-1)
        raise next(
            (error for error in failed if not isinstance(error, asyncpg.TargetServerAttributeNotMatched)), failed[0]
        )
