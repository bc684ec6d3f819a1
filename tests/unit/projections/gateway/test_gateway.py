"""What a gateway knows of the commands that it sends itself, before it has read so anywhere."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict
from yarl import URL

from aggregates.shop.order import order
from projections.gateway.gateway import Gateway
from projections.http.problems import HttpProblem
from streams.settings import Settings
from tests.unit.boxes import until


class Kafka:
    """A producer that takes records and never says so."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def deliver(self, hand_over: Any) -> Any:
        return await (await hand_over(self))

    async def send(self, topic: str, value: bytes, **others: Any) -> asyncio.Future[None]:
        self.sent.append(topic)
        return asyncio.get_running_loop().create_future()


def request(body: Any, order: str = "7") -> Any:
    """A command with the id `c-1`."""
    content = asyncio.StreamReader()
    content.feed_data(json.dumps(body).encode())
    content.feed_eof()
    headers = CIMultiDict({"Content-Type": "application/json", "Idempotency-Key": "c-1", "Prefer": "wait=60"})
    path = URL(f"/orders/{order}/commands")
    return SimpleNamespace(headers=headers, content=content, content_length=None, rel_url=path)


@pytest.mark.parametrize(
    "other", [({"type": "CancelOrder", "data": {"reason": "x"}}, "7"), ({"type": "PlaceOrder"}, "8")]
)
async def test_two_commands_with_one_id_at_once(tmp_path: Path, other: tuple[Any, str]) -> None:
    """Of two commands with one id that come in the same moment one is sent, and the other is told what the id is of;
    the same command again is no other."""
    kafka = Kafka()
    app = SimpleNamespace(settings=Settings(), conf=SimpleNamespace(datadir=tmp_path))
    side: Any = SimpleNamespace(app=app, broker=kafka, journals={})
    gateway = Gateway(side, {"order": order.commands})
    gateway._replies._commands.open("topic-1")
    view: Any = None
    first, again = (asyncio.create_task(gateway.post(view, request({"type": "PlaceOrder"}), "order")) for _ in range(2))
    refused = asyncio.create_task(gateway.post(view, request(*other), "order"))
    async with asyncio.timeout(10):
        with pytest.raises(HttpProblem, match="c-1 was used for PlaceOrder of order 7"):
            await refused
    await until(lambda: len(kafka.sent) == 2)
    for task in (first, again, *gateway._deliveries):
        task.cancel()
    await asyncio.gather(first, again, return_exceptions=True)
