"""Orders of the shop, as tests make and move them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from tests.e2e.client import PARTITIONS
from tests.e2e.system import System
from tests.e2e.worker import Worker

OPEN = {"user_id": "17850", "kind": "sale", "country": "France", "opened_at": "2010-12-01T08:26:00Z"}
LINE = {"sku": "85123A", "description": "T-LIGHT HOLDER", "quantity": 6, "unit_price": "2.55"}


async def do(system: System, keys: Iterable[str], command: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    """A command to each of these orders, side by side; the replies, which are all `accepted`."""
    replies = await asyncio.gather(*(system.ask("order", key, command, data) for key in keys))
    assert {"accepted"} == {reply["status"] for reply in replies}, replies
    return replies


async def place(system: System, keys: Iterable[str]) -> list[dict[str, Any]]:
    """Open orders, with a line each, and place them."""
    keys = list(keys)
    await do(system, keys, "OpenOrder", OPEN)
    await do(system, keys, "AddLine", LINE)
    return await do(system, keys, "PlaceOrder", {})


async def shown(system: System, worker: Worker, replies: Iterable[dict[str, Any]]) -> None:
    """Return when the tables show what these replies say."""
    newest: dict[str, int] = {}
    for reply in replies:
        stream, _, nr = reply["position"].rpartition(":")
        newest[stream] = max(newest.get(stream, 0), int(nr))
    for stream, nr in newest.items():
        status, body, _ = await system.get(
            worker, "/analytics/revenue", At_Least=f"{stream}:{nr}", Prefer=f"wait={8 * PARTITIONS}"
        )
        assert 200 == status, body
