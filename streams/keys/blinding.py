"""The key of blind ids of this process: see `aggregates.personal.blind`."""

from __future__ import annotations

import asyncio

from aggregates.personal import Blinding
from streams.keys.keys import Keys

LOOK_SECONDS = 2.0


async def make_blind_key(keys: Keys) -> None:
    """Have the key of blind ids, made where there is none. Raises `Unavailable`."""
    Blinding.key = await keys.blind_key()


async def take_blind_key(keys: Keys) -> None:
    """Have the key of blind ids as soon as somebody has made it, who may. Raises `Unavailable`."""
    while True:
        if key := await keys.blind_key(create=False):
            Blinding.key = key
            return
        await asyncio.sleep(LOOK_SECONDS)
