"""Workers that have the commands of different partitions, on real sockets: whichever is asked, one of them answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from aggregates.shop.order import order
from projections.applying.control import Control
from projections.gateway.command_records import encode_sent, read_entry
from projections.gateway.gateway import Gateway
from projections.http.problems import problems
from projections.routing.query_router import QueryRouter
from projections.routing.signature import HopSignature
from streams.deciding.messages import AggregateRef, Reply, encode_reply
from streams.kafka.client import partition_of
from streams.settings import Settings
from tests.unit.control_topic import ControlTopic, following
from tests.unit.until import until

CHANGELOG = "order-rows-changelog"
PARTITIONS = 8
Answer = tuple[int, Any, Any]


class View:
    """What Faust gives to handlers: it makes answers."""

    def bytes(self, body: bytes, **options: Any) -> web.Response:
        return web.Response(body=body, **options)


class Kafka:
    """Takes all records at once; `sent` are the commands, by id their headers, and `notes` the ids of the notes."""

    def __init__(self) -> None:
        self.sent: list[dict[str, bytes]] = []
        self.notes: list[bytes] = []

    async def deliver(self, hand_over: Any) -> Any:
        return await (await hand_over(self))

    async def send(self, topic: str, value: bytes, **others: Any) -> asyncio.Future[Any]:
        if topic == "gateway-replies":
            self.notes.append(others["key"])
        else:
            self.sent.append(dict(others["headers"]))
        future = asyncio.get_running_loop().create_future()
        future.set_result(SimpleNamespace(partition=others["partition"], offset=1))
        return future


class Worker:
    """A gateway that reads nothing: tests say what becomes of commands."""

    def __init__(self, control: Control, folder: Path, kafka: Kafka) -> None:
        self.placed: dict[str, dict[str, list[int]]] = {}
        self.settings = Settings(partitions=PARTITIONS)
        app: Any = SimpleNamespace(
            access=None,
            conf=SimpleNamespace(canonical_url="", datadir=folder),
            span_tracer=None,
            settings=self.settings,
            router=SimpleNamespace(tables_metadata=lambda: self.placed),
        )
        self.conf = app.conf
        self.control = control
        self.doors = QueryRouter(app, control, {"orders": CHANGELOG}, {})
        side: Any = SimpleNamespace(app=app, broker=kafka, logs={}, doors=self.doors, contexts={}, control=control)
        self.gateway = Gateway(side, {"order": order.commands})
        self.replies = self.gateway._replies
        self.replies.commands.open("topic-1")
        self.gateway._is_open = True

    async def start(self) -> None:
        signature = HopSignature(lambda: self.control.secrets)
        app = web.Application(middlewares=[problems, signature.middleware])
        app.router.add_post("/orders/{id}/commands", self._post)
        app.router.add_get("/commands/{id}", self._status)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.conf.canonical_url = self.url

    async def stop(self) -> None:
        await self.doors.close()
        await self.runner.cleanup()
        self.replies.commands.close()

    async def _post(self, request: web.Request) -> Any:
        with self.gateway.in_work():
            return await self.gateway.post(View(), request, "order")

    async def _status(self, request: web.Request) -> Any:
        with self.gateway.in_work():
            return await self.gateway.status(View(), request)

    def has(self, *partitions: int) -> None:
        """What the worker has from now on."""
        self.replies._active = frozenset(partitions)
        self.replies.waiters.keep(self.replies.has)
        self.replies.pending.keep(self.replies.has)
        self.replies._read_to = self.replies._ends = dict.fromkeys(partitions, 1)

    def reads_reply(self, id: str, order: str) -> None:
        """The reply to a command arrives at its partition, beside the note of it."""
        reply = Reply(id, "accepted", AggregateRef("order", order, 1), command="PlaceOrder")
        sent = self.replies.pending.sent(id)
        values = [encode_reply(reply), *([encode_sent(sent)] if sent else [])]
        self.replies.commands.write([read_entry(value, 1)[0] for value in values], {}, 1)
        self.replies.pending.answered(reply)
        self.replies.waiters.take(reply)


class Shop:
    """Two workers, each with half of the partitions, and a client."""

    def __init__(self, one: Worker, other: Worker, kafka: Kafka, http: aiohttp.ClientSession) -> None:
        self.one = one
        self.other = other
        self.kafka = kafka
        self.http = http
        self.place(range(4), range(4, 8))

    def place(self, of_one: Any, of_other: Any) -> None:
        """The partitions move."""
        self.one.has(*of_one)
        self.other.has(*of_other)
        placed = {self.one.url: {CHANGELOG: list(of_one)}, self.other.url: {CHANGELOG: list(of_other)}}
        self.one.placed = self.other.placed = placed

    async def post(self, worker: Worker, id: str, order: str = "7", seconds: int = 30, **headers: str) -> Answer:
        """Send a command."""
        named = {"Content-Type": "application/json", "Idempotency-Key": id, "Prefer": f"wait={seconds}", **headers}
        url, body = f"{worker.url}/orders/{order}/commands", b'{"type": "PlaceOrder"}'
        async with self.http.post(url, data=body, headers=named) as response:
            return response.status, json.loads(await response.read()), response.headers

    async def status(self, worker: Worker, id: str, seconds: int = 0) -> Answer:
        """Ask what became of a command."""
        headers = {"Prefer": f"wait={seconds}"}
        async with self.http.get(f"{worker.url}/commands/{id}", headers=headers) as response:
            return response.status, json.loads(await response.read()), response.headers


@pytest_asyncio.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr("projections.gateway.command_routing.AGAIN_SECONDS", 0.02)
    topic, kafka = ControlTopic(), Kafka()
    async with AsyncExitStack() as stack:
        controls = [await stack.enter_async_context(following(topic)) for _ in range(2)]
        for control in controls:
            await control.share_secret()
            await control.wait_for(0)
        workers = [Worker(control, tmp_path / str(nr), kafka) for nr, control in enumerate(controls)]
        for worker in workers:
            await worker.start()
            stack.push_async_callback(worker.stop)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Shop(*workers, kafka, http)


def id_of(partitions: range, start: int = 0) -> str:
    """A command id of one of these partitions."""
    return next(f"c-{nr}" for nr in range(start, start + 1_000) if partition_of(f"c-{nr}".encode(), 8) in partitions)


HERE, THERE = id_of(range(4)), id_of(range(4, 8))


@pytest.mark.parametrize("id", [HERE, THERE])
async def test_any_worker_takes_it_and_one_has_it(shop: Shop, id: str) -> None:
    """A command sent to either worker is with the one that has its partition, and both say what became of it."""
    one, other = shop.one, shop.other
    owner = one if id == HERE else other
    posts = [asyncio.create_task(shop.post(worker, id)) for worker in (one, other)]
    await until(lambda: len(owner.replies.waiters._waiting.get(id, ())) == 2)
    assert [] == [*(other if owner is one else one).replies.waiters._waiting]
    owner.reads_reply(id, "7")
    answers = await asyncio.gather(*posts)
    assert [(200, "accepted", id)] * 2 == [(code, body["status"], body["command_id"]) for code, body, _ in answers]
    for worker in (one, other):
        assert (200, "accepted") == ((got := await shop.status(worker, id))[0], got[1]["status"])
    count = len(shop.kafka.sent)
    for worker in (one, other):
        assert 200 == (await shop.post(worker, id))[0], "the same again gets the first reply"
        code, problem, _ = await shop.post(worker, id, order="8")
        assert (422, "IdUsedBefore") == (code, problem["title"])
    assert count == len(shop.kafka.sent)


async def test_headers_go_along(shop: Shop) -> None:
    """Preconditions, correlation and key are those of the client, and the reply is asked for at the command's place."""
    id, named = f'"{THERE}', {"If-Match": "4", "X-Correlation-ID": "journey 7"}
    quoted = '"\\"' + THERE + '"'
    owner = shop.one if partition_of(id.encode(), 8) < 4 else shop.other
    asked = shop.other if owner is shop.one else shop.one
    code, body, headers = await shop.post(asked, quoted, seconds=0, **named)
    assert (202, id, "pending") == (code, body["command_id"], body["status"])
    assert "/commands/%22" + THERE == headers["Location"]
    [sent] = shop.kafka.sent
    expected = {"ce_id": id, "ce_expectedsequence": "4", "ce_correlationid": "journey 7", "ce_replykey": id}
    assert expected == {name: sent[name].decode() for name in expected}
    assert id in owner.replies.pending
    assert [id.encode()] == shop.kafka.notes


async def test_no_worker_has_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a partition has no worker it is waited for, and then said: nothing was sent."""
    monkeypatch.setattr("projections.gateway.command_routing.MOVING_SECONDS", 0.2)
    shop.place(range(4), ())
    code, problem, headers = await shop.post(shop.one, THERE, seconds=0)
    assert (503, THERE, "1") == (code, problem["command_id"], headers["Retry-After"])
    code, problem, headers = await shop.status(shop.one, THERE)
    assert (503, "1") == (code, headers["Retry-After"])
    assert [] == shop.kafka.sent

    post = asyncio.create_task(shop.post(shop.one, THERE, seconds=30))
    await asyncio.sleep(0.3)
    shop.place(range(4), range(4, 8))
    await until(lambda: THERE in shop.other.replies.waiters._waiting)
    shop.other.reads_reply(THERE, "7")
    assert 200 == (await post)[0]


async def test_a_worker_that_has_it_no_more(shop: Shop) -> None:
    """Of two workers that know of different placements one asks again, until they know the same."""
    shop.one.placed = {shop.other.url: {CHANGELOG: list(range(8))}}
    shop.one.has()
    post = asyncio.create_task(shop.post(shop.one, HERE))
    await asyncio.sleep(0.1)
    assert ([], False) == (shop.kafka.sent, post.done())
    shop.place(range(4), range(4, 8))
    await until(lambda: HERE in shop.one.replies.waiters._waiting)
    shop.one.reads_reply(HERE, "7")
    assert 200 == (await post)[0]


@pytest.mark.parametrize("asked", ["one", "other"])
async def test_a_partition_moves_while_somebody_waits(shop: Shop, asked: str) -> None:
    """Whoever waits for a reply that arrives elsewhere by now is told where to ask, and is answered there."""
    post = asyncio.create_task(shop.post(getattr(shop, asked), THERE))
    await until(lambda: bool(shop.kafka.notes))
    shop.place(range(8), ())
    code, _, headers = await post
    assert (202, f"/commands/{THERE}") == (code, headers["Location"])
    shop.one.reads_reply(THERE, "7")
    assert (200, "accepted") == ((got := await shop.status(shop.other, THERE))[0], got[1]["status"])


async def test_the_worker_that_has_it_dies(shop: Shop) -> None:
    """A request that it had is asked again where its partition is then: under the same id, so with one effect."""
    post = asyncio.create_task(shop.post(shop.one, THERE))
    await until(lambda: bool(shop.kafka.notes))
    for connection in list(shop.other.runner.server.connections):  # type: ignore[union-attr]
        connection.transport.abort()  # type: ignore[union-attr]
    shop.place(range(8), ())
    await until(lambda: THERE in shop.one.replies.waiters._waiting)
    shop.one.reads_reply(THERE, "7")
    assert 200 == (await post)[0]
    assert {THERE.encode()} == {headers["ce_id"] for headers in shop.kafka.sent}


@pytest.mark.parametrize("full", ["asked", "owner", "next owner"])
async def test_no_room_for_asking_again(shop: Shop, monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    """A command that may be on its way is not refused as if nothing had been sent: its sender is told its id."""
    monkeypatch.setattr("projections.gateway.command_routing.MOVING_SECONDS", 0.2)
    post = asyncio.create_task(shop.post(shop.one, THERE, seconds=1))
    await until(lambda: bool(shop.kafka.notes))
    if full == "asked":
        shop.one.gateway._router._most = 0
    elif full == "next owner":
        shop.one.gateway._waiters._most = 0
        shop.place(range(8), ())
    else:
        shop.other.gateway._waiters._most = 0
    for connection in list(shop.other.runner.server.connections):  # type: ignore[union-attr]
        connection.transport.abort()  # type: ignore[union-attr]
    code, problem, _ = await post
    assert (503, THERE) == (code, problem["command_id"])


async def test_the_worker_that_was_asked_ends(shop: Shop) -> None:
    """Who waits there for a command that another worker has gets a 202 with its status, and who only asks a 503."""
    post = asyncio.create_task(shop.post(shop.one, THERE))
    await until(lambda: bool(shop.kafka.notes))
    sent = next(iter(shop.other.replies.pending.sent_before(1 << 62)))
    shop.other.replies.commands.write([read_entry(encode_sent(sent), 1)[0]], {}, 1)
    ask = asyncio.create_task(shop.status(shop.one, THERE, 30))
    await until(lambda: len(shop.other.replies.waiters._waiting.get(THERE, ())) == 2)
    await shop.one.gateway.stop()
    code, body, headers = await post
    assert (202, "pending", f"/commands/{THERE}") == (code, body["status"], headers["Location"])
    assert 503 == (await ask)[0]
    assert 503 == (await shop.status(shop.one, HERE))[0]
