"""What a gateway knows of the commands that it sends itself, before it has read so anywhere."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from multidict import CIMultiDict
from yarl import URL

from aggregates.shop.order import order
from projections.applying.control import SystemKey
from projections.gateway.gateway import Gateway
from projections.http.problems import HttpProblem
from streams.access.grants import Grants
from streams.access.principal import Identified, Principal, asked_by
from streams.settings import Settings
from tests.unit.until import until


class Kafka:
    """A producer that takes records and never says so."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def deliver(self, hand_over: Any) -> Any:
        return await (await hand_over(self))

    async def send(self, topic: str, value: bytes, **others: Any) -> asyncio.Future[None]:
        self.sent.append(topic)
        return asyncio.get_running_loop().create_future()


class Request(dict[Any, Any]):
    """What a handler sees of one: its attributes, and what is noted on it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        vars(self).update(attributes)


CONTROL = SimpleNamespace(system_keys=[SystemKey("k1", bytes(32), 0.0, 0.0)])


def request(body: Any, order: str = "7") -> Any:
    """A command with the id `c-1`."""
    content = asyncio.StreamReader()
    content.feed_data(json.dumps(body).encode())
    content.feed_eof()
    headers = CIMultiDict({"Content-Type": "application/json", "Idempotency-Key": "c-1", "Prefer": "wait=60"})
    path = URL(f"/orders/{order}/commands")
    return Request(headers=headers, content=content, content_length=None, rel_url=path)


@pytest.mark.parametrize(
    "other", [({"type": "CancelOrder", "data": {"reason": "x"}}, "7"), ({"type": "PlaceOrder"}, "8")]
)
async def test_two_commands_with_one_id_at_once(tmp_path: Path, other: tuple[Any, str]) -> None:
    """Of two commands with one id that come in the same moment one is sent, and the other is told what the id is of;
    the same command again is no other."""
    kafka = Kafka()
    app = SimpleNamespace(access=None, span_tracer=None, settings=Settings(), conf=SimpleNamespace(datadir=tmp_path))
    side: Any = SimpleNamespace(app=app, broker=kafka, logs={}, doors=None, contexts={}, control=CONTROL)
    gateway = Gateway(side, {"order": order.commands})
    gateway._replies.commands.open("topic-1")
    gateway._replies._active = frozenset(range(Settings().partitions))
    view: Any = None
    first, again = (asyncio.create_task(gateway.post(view, request({"type": "PlaceOrder"}), "order")) for _ in range(2))
    refused = asyncio.create_task(gateway.post(view, request(*other), "order"))
    async with asyncio.timeout(10):
        with pytest.raises(HttpProblem, match="c-1 was used for PlaceOrder of order 7"):
            await refused
    await until(lambda: len(kafka.sent) == 2)
    for task in (first, again, *gateway._deliveries._tasks):
        task.cancel()
    await asyncio.gather(first, again, return_exceptions=True)


async def test_what_an_id_of_somebody_else_is_of(tmp_path: Path) -> None:
    """Whoever takes the id of a command that he may not see is told that it is used, and not for what."""
    grants = Grants.read("""
        [[grants]]
        to = ["*"]
        role = "commander"
        contexts = ["order"]
        keys = ["{sub}-*"]
        """)
    access = SimpleNamespace(grants=grants)
    its = {"settings": Settings(), "conf": SimpleNamespace(datadir=tmp_path)}
    app = SimpleNamespace(access=access, span_tracer=None, contexts={}, **its)
    side: Any = SimpleNamespace(app=app, broker=Kafka(), logs={}, doors=None, contexts={}, control=CONTROL)
    gateway = Gateway(side, {"order": order.commands})
    await gateway._keys.start()  # there are no contexts to hand keys out to
    gateway._replies.commands.open("topic-1")
    gateway._replies._active = frozenset(range(Settings().partitions))
    view: Any = None
    place = {"type": "PlaceOrder"}
    with asked_by(Identified(Principal("oidc", "alice"))):
        first = asyncio.create_task(gateway.post(view, request(place, "alice-1"), "order"))
        await until(lambda: "c-1" in gateway._pending)
        with pytest.raises(HttpProblem, match="of order alice-1") as own:
            await gateway.post(view, request(place, "alice-2"), "order")
    assert "used_for" in own.value.members
    with asked_by(Identified(Principal("oidc", "mallory"))):
        with pytest.raises(HttpProblem, match="c-1 was used for another command") as others:
            await gateway.post(view, request(place, "mallory-1"), "order")
        assert {"command_id": "c-1"} == others.value.members
        with pytest.raises(HttpProblem, match="may not send") as refused:
            await gateway.post(view, request(place, "alice-1"), "order")
        assert 403 == refused.value.status
    for task in (first, *gateway._deliveries._tasks):
        task.cancel()
    await asyncio.gather(first, return_exceptions=True)


class Moment:
    """What happens to a command, and after how many milliseconds: None for never."""

    def __init__(self, delivered: int | None, replied: int | None, *, fails: bool = False, ends: bool = False) -> None:
        self.delivered = delivered
        self.replied = replied
        self.fails = fails
        self.ends = ends

    async def deliver(self) -> Any:
        """As Kafka takes it, or does not."""
        await after(self.delivered)
        if self.fails:
            raise KafkaTimeoutError("no leader")
        return "sent"

    async def reply(self, future: asyncio.Future[Any]) -> None:
        """As its owner replies, or the worker ends."""
        await after(self.replied)
        future.set_result(None if self.ends else "reply")


async def after(milliseconds: int | None) -> None:
    """Wait, or for ever."""
    await asyncio.sleep(3_600 if milliseconds is None else milliseconds / 1_000)


@pytest.mark.parametrize(
    ("moment", "seconds", "expected"),
    [
        (Moment(10, 40), 0.5, "reply"),
        (Moment(None, 10), 0.5, "reply"),  # it is read before the note of the command is written
        (Moment(10, None), 0.0, None),
        (Moment(40, None), 0.02, None),
        (Moment(10, None), 0.1, None),
        (Moment(10, 30, ends=True), 3_600, None),
        (Moment(60, 10, ends=True), 3_600, None),
        (Moment(None, 10, ends=True), 3_600, HttpProblem),
        (Moment(None, None), 0.0, HttpProblem),
        (Moment(None, None), 0.3, HttpProblem),
        (Moment(10, 300, fails=True), 3_600, HttpProblem),
    ],
)
async def test_how_long_it_waits(
    moment: Moment, seconds: float, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the reply as long as the client says, for Kafka 200 ms at least; not for what does not come any more."""
    monkeypatch.setattr("projections.gateway.gateway.PRODUCE_SECONDS", 0.2)
    future = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(moment.deliver()), asyncio.create_task(moment.reply(future))]
    command: Any = SimpleNamespace(id="c-1")
    gateway: Any = None
    async with asyncio.timeout(20):
        work = Gateway._reply(gateway, command, tasks[0], future, seconds)
        if expected is HttpProblem:
            with pytest.raises(HttpProblem, match="command c-1") as refused:
                await work
            assert (503, {"command_id": "c-1"}) == (refused.value.status, refused.value.members)
        else:
            assert expected == await work
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
