"""Has keys, and what was opened with them, out of the memory of a worker when their time is up, used or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from streams.keys.keys import SWEEPS_A_LEASE, Keys


async def sweep(keys: Sequence[Keys], *also: Callable[[], object]) -> None:
    """Look for ever whose lease is over, and then have `also` look; there is at least one of `keys`."""
    while True:
        await asyncio.sleep(min(its.lease for its in keys) / SWEEPS_A_LEASE)
        for its in keys:
            its.expire()
        for look in also:
            look()
