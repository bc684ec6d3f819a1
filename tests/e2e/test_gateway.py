"""Commands over HTTP, with real workers: every outcome, and what survives which death."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.e2e.client import eventually, partition_of
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

PENDING = 20
"""The most commands without a reply, so that a test can reach it."""

COMMAND_BYTES = 4_000
"""The most that the owner takes, much less than the gateway lets through."""

Answer = tuple[int, Any, Mapping[str, str]]


class Shop:
    """An order worker and one gateway, which come and go."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.orders: Worker
        self.gateway: Worker

    async def start_orders(self) -> None:
        """Start the worker that decides, and wait for it. It takes smaller commands than the gateway knows."""
        self.orders = self.system.start(ORDERS, COMMAND_BYTES=str(COMMAND_BYTES))
        await self.system.all_served(self.orders)

    async def start_gateway(self, folder: Any = None) -> None:
        """Start the worker that takes commands over HTTP, and wait until it takes them."""
        self.gateway = self.system.start(PROJECTIONS, folder, HTTP_PENDING=str(PENDING))

        async def takes() -> bool:
            try:
                return (await self.get("/commands/nobody"))[0] == 404
            except aiohttp.ClientError:
                return False

        await eventually(takes, 60, self.gateway.tail)

    def stop(self, worker: Worker, how: signal.Signals = signal.SIGTERM) -> None:
        """End a worker, and wait for it."""
        worker.signal(how)
        worker.end()

    async def post(self, path: str, type: str, data: Any, **headers: str) -> Answer:
        """Send a command."""
        return await self.send(path, json.dumps({"type": type, "data": data}), **headers)

    async def send(self, path: str, body: Any, **headers: str) -> Answer:
        """Send anything; answers that are not JSON as text."""
        named = {"Content-Type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = URL(self.gateway.url + path, encoded=True)
        async with self.system.http.post(url, data=body, headers=named) as response:
            text = await response.text()
            is_json = response.content_type.endswith("json")
            return response.status, json.loads(text) if is_json else text, response.headers

    async def get(self, path: str, **headers: str) -> Answer:
        """Ask."""
        return await self.system.get(self.gateway, path, **headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """Both workers, ready."""
    shop = Shop(system)
    await asyncio.gather(shop.start_orders(), shop.start_gateway())
    await system.all_served(shop.gateway)
    return shop


def new_id() -> str:
    """An id that nobody has used."""
    return uuid.uuid4().hex


async def test_accepted(shop: Shop) -> None:
    """An accepted command is answered 200 with its reply."""
    status, reply, _ = await shop.post("/orders/%C3%A9-1/commands", "OpenOrder", OPEN, Idempotency_Key="a-1")

    assert (200, "accepted", "a-1") == (status, reply["status"], reply["command_id"]), reply
    assert {"type": "order", "id": "é-1", "sequence": 1} == reply["aggregate"]
    assert ["OrderOpened"] == reply["events"]
    assert reply["position"].startswith(f"order-{partition_of('é-1')}:")


async def test_odd_ids(shop: Shop) -> None:
    """Ids may have any characters, and `Location` leads to the command all the same."""
    status, reply, _ = await shop.post("/orders/%7Ba%2F%25%7D/commands", "OpenOrder", OPEN)
    assert (200, "{a/%}") == (status, reply["aggregate"]["id"])

    path = "/orders/odd/commands"
    status, _, headers = await shop.post(path, "OpenOrder", OPEN, Idempotency_Key="{a/%}?#", Prefer="wait=0")
    assert status in (200, 202)  # a reply may be as fast as the answer that does not wait for it
    where = headers.get("Location", "/commands/%7Ba%2F%25%7D%3F%23")
    async with shop.system.http.get(URL(shop.gateway.url + where, encoded=True)) as response:
        assert (200, "{a/%}?#") == (response.status, (await response.json())["command_id"])


async def test_id_of_its_own(shop: Shop) -> None:
    """Without an Idempotency-Key a command has a new id, by which its status can be asked for."""
    _, reply, _ = await shop.post("/orders/own/commands", "OpenOrder", OPEN)

    id = str(uuid.UUID(reply["command_id"]))
    await eventually(lambda: sent(shop, id), 5, "the note of the command is not read")
    status, known, _ = await shop.get(f"/commands/{id}")
    assert (200, reply) == (status, {name: known[name] for name in reply})
    assert "OpenOrder" == known["command"]
    topic = shop.system.topic("order-commands")
    assert (topic, partition_of("own")) == (known["sent"]["topic"], known["sent"]["partition"])


async def test_rejected(shop: Shop) -> None:
    """A command that the domain refuses is a problem 409, with all that its reply says, and its status likewise."""
    status, problem, headers = await shop.post("/orders/none/commands", "PlaceOrder", {}, Idempotency_Key="r-1")

    assert (409, "application/problem+json") == (status, headers["Content-Type"])
    assert (409, "rejected", "r-1") == (problem["status"], problem["outcome"], problem["command_id"])
    assert problem["error"] == {"type": problem["title"], "message": problem["detail"]}
    assert {"type": "order", "id": "none", "sequence": 0} == problem["aggregate"]
    status, known, _ = await shop.get("/commands/r-1")
    assert (200, "rejected", problem["error"]) == (status, known["status"], known["error"])


async def test_rejected_is_decided_again(shop: Shop) -> None:
    """The same id after a rejection is decided again, and its status is the newest reply."""
    assert 409 == (await shop.post("/orders/again/commands", "PlaceOrder", {}, Idempotency_Key="r-2"))[0]
    await shop.post("/orders/again/commands", "OpenOrder", OPEN)
    await shop.post("/orders/again/commands", "AddLine", LINE)

    assert 200 == (await shop.post("/orders/again/commands", "PlaceOrder", {}, Idempotency_Key="r-2"))[0]

    assert "accepted" == (await shop.get("/commands/r-2"))[1]["status"]


async def test_failed(shop: Shop) -> None:
    """A command that its owner cannot process, as here one of nearly 256 KB, is a problem 422 with its reply."""
    long = LINE | {"description": "x" * 250_000}
    status, problem, _ = await shop.post("/orders/long/commands", "AddLine", long, Idempotency_Key="f-1")

    assert (422, "failed", "TooLarge", "f-1") == (
        status,
        problem["outcome"],
        problem["error"]["type"],
        problem["command_id"],
    )


async def test_same_again(shop: Shop) -> None:
    """The same key for the same command gets the first reply, however JSON and key are written, and one effect."""
    path, id = "/orders/twice/commands", new_id()
    await shop.post(path, "OpenOrder", OPEN)
    _, first, _ = await shop.post(path, "AddLine", LINE, Idempotency_Key=id)

    swapped = json.dumps({"data": dict(reversed(LINE.items())), "type": "AddLine"}, indent=3)
    for key in (id, f'"{id}"'):
        assert (200, first) == (await shop.send(path, swapped, Idempotency_Key=key))[:2]
    answers = await asyncio.gather(*(shop.post(path, "PlaceOrder", {}, Idempotency_Key="p-1") for _ in range(5)))
    assert [(200, answers[0][1])] * 5 == [answer[:2] for answer in answers]

    assert 3 == answers[0][1]["aggregate"]["sequence"]


async def test_same_key_for_another(shop: Shop) -> None:
    """A key that was used for another command, or another aggregate, is refused, and nothing is sent."""
    path, id = "/orders/key/commands", new_id()
    await shop.post(path, "OpenOrder", OPEN, Idempotency_Key=id)
    await eventually(lambda: sent(shop, id), 5, "the note of the command is not read")

    other = await shop.post(path, "OpenOrder", OPEN | {"user_id": "1"}, Idempotency_Key=id)
    elsewhere = await shop.post("/orders/key-2/commands", "OpenOrder", OPEN, Idempotency_Key=id)

    for status, problem, _ in (other, elsewhere):
        assert (422, "IdUsedBefore") == (status, problem["title"])
        assert {"command": "OpenOrder", "aggregate": {"type": "order", "id": "key"}} == problem["used_for"]
        assert "outcome" not in problem


async def test_same_key_for_another_at_once(shop: Shop) -> None:
    """A worker knows what it has sent, also before it has read so: of two commands with one key one is refused."""
    path, id = "/orders/at-once/commands", new_id()
    answers = await asyncio.gather(
        shop.post(path, "OpenOrder", OPEN, Idempotency_Key=id),
        shop.post(path, "OpenOrder", OPEN | {"user_id": "1"}, Idempotency_Key=id),
    )
    assert [200, 422] == sorted(status for status, _, _ in answers)
    assert 1 == sum(problem.get("title") == "IdUsedBefore" for _, problem, _ in answers)


async def test_lost_update(shop: Shop) -> None:
    """Who decides by what has changed meanwhile is told so, with what it is now, and nothing is written; by an ETag, a
    sequence, or that there is none."""
    path = f"/orders/{new_id()}/commands"
    key = path.split("/")[2]
    first = {"Idempotency_Key": new_id(), "If_None_Match": "*"}
    status, reply, _ = await shop.post(path, "OpenOrder", OPEN, **first)
    assert (200, 1) == (status, reply["aggregate"]["sequence"])
    status, problem, _ = await shop.post(path, "OpenOrder", OPEN, If_None_Match="*")
    assert (412, "UnexpectedSequence", "rejected", 1) == (
        status,
        problem["title"],
        problem["outcome"],
        problem["aggregate"]["sequence"],
    )

    _, _, headers = await shop.get(f"/orders/{key}", At_Least=reply["position"])
    etag = headers["ETag"]
    assert 200 == (await shop.post(path, "AddLine", LINE, If_Match=etag))[0]
    for old in (etag, "1", '"1"'):
        status, problem, _ = await shop.post(path, "PlaceOrder", {}, If_Match=old)
        assert (412, 2) == (status, problem["aggregate"]["sequence"]), old
    assert 412 == (await shop.post(f"/orders/{new_id()}/commands", "OpenOrder", OPEN, If_Match="*"))[0]
    assert 200 == (await shop.post(path, "PlaceOrder", {}, If_Match="2"))[0]
    assert (200, reply) == (await shop.post(path, "OpenOrder", OPEN, **first))[:2], "the same again is the same"


async def test_an_id_that_came_another_way(shop: Shop) -> None:
    """An id that was used on Kafka is refused here by the aggregate's owner, and what it was used for is said."""
    id, key = new_id(), new_id()
    assert "accepted" == (await shop.system.ask("order", key, "OpenOrder", OPEN, id=id))["status"]
    status, problem, _ = await shop.post(f"/orders/{key}/commands", "AddLine", LINE, Idempotency_Key=id)
    assert (422, "IdUsedBefore", "failed") == (status, problem["title"], problem["outcome"])
    assert "OpenOrder" in problem["detail"]


async def test_preconditions_go_to_the_owner(shop: Shop) -> None:
    """The sequence that is expected stands on Kafka, for the owner to decide; what can never hold is refused here."""
    path = "/orders/expected/commands"
    etag = f'"orders-1/order-{partition_of("expected")}:1:0/7/0123456789abcdef"'
    sent_as = {"If_None_Match": {"*": b"0"}, "If_Match": {"*": b"*", "7": b"7", etag: b"7"}}
    ids = {}
    for header, values in sent_as.items():
        for value, expected in values.items():
            ids[id := new_id()] = expected
            await shop.post(path, "OpenOrder", OPEN, Idempotency_Key=id, **{header: value})
    found = {}
    for record in await shop.system.read("order-commands"):
        named = dict(record.headers)
        found[named["ce_id"].decode()] = named.get("ce_expectedsequence")
    assert ids == {id: found[id] for id in ids}

    before = await shop.system.ends("order-commands")
    for code, named in (
        (412, {"If_Match": f"W/{etag}"}),
        (412, {"If_Match": '"users-1/user-0:1:0/7/0123456789abcdef"'}),
        (400, {"If_Match": "abc"}),
        (400, {"If_Match": "7", "If_None_Match": "*"}),
        (400, {"If_None_Match": etag}),
    ):
        status, problem, headers = await shop.post(path, "OpenOrder", OPEN, **named)
        assert (code, code, "application/problem+json") == (status, problem["status"], headers["Content-Type"])
    assert before == await shop.system.ends("order-commands")


async def sent(shop: Shop, id: str) -> bool:
    """Whether the gateway has read what it has sent."""
    return "sent" in (await shop.get(f"/commands/{id}"))[1]


async def test_headers_on_kafka(shop: Shop) -> None:
    """A command stands on Kafka under its aggregate's key, with the correlation id and the trace of its request."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    named = {"Idempotency_Key": "h-1", "X_Correlation_ID": "journey 7", "traceparent": trace}
    status, reply, _ = await shop.post("/orders/headers/commands", "OpenOrder", OPEN, **named)

    assert (200, "h-1") == (status, reply["command_id"])
    record = next(it for it in await shop.system.read("order-commands") if it.key == b"headers")
    found = {name: value.decode() for name, value in record.headers}
    assert {"h-1", "OpenOrder", "journey 7", trace, shop.system.topic("gateway-replies")} <= set(found.values())
    assert (partition_of("headers"), OPEN) == (record.partition, json.loads(record.value))


BAD: list[tuple[int, str, str, dict[str, str]]] = [
    (400, "/orders/1/commands", "{", {}),
    (400, "/orders/1/commands", "", {}),
    (400, "/orders/%FF/commands", "{}", {}),
    (400, "/orders/" + "x" * 513 + "/commands", "{}", {}),
    (400, "/orders/1/commands", "{}", {"Idempotency_Key": "x" * 513}),
    (400, "/orders/1/commands", "{}", {"Idempotency_Key": "schlüssel"}),
    (400, "/orders/1/commands", "{}", {"Idempotency_Key": "a\tb"}),
    (400, "/orders/1/commands", "{}", {"Idempotency_Key": ""}),
    (400, "/orders/1/commands", "{}", {"X_Correlation_ID": "x" * 20_000}),
    (400, "/orders/1/commands", "no gzip", {"Content_Encoding": "gzip"}),
    (404, "/nothings/1/commands", "{}", {}),
    (413, "/orders/1/commands", '"' + "x" * 300_000 + '"', {}),
    (415, "/orders/1/commands", "{}", {"Content_Type": "text/plain"}),
    (422, "/orders/1/commands", '{"type": "Nothing"}', {}),
    (422, "/orders/1/commands", '{"type": "AddLine", "data": {}}', {}),
    (422, "/orders/1/commands", '{"type": "PlaceOrder", "data": {"quantty": 1}}', {}),
]


async def test_bad_requests(shop: Shop) -> None:
    """What is wrong with a request is said as a problem, and nothing of it gets to Kafka."""
    before = await shop.system.ends("order-commands")
    for code, path, body, headers in BAD:
        status, problem, answered = await shop.send(path, body, **headers)
        assert code == status, (path[:40], body[:40], headers, problem)
        if "X_Correlation_ID" not in headers:  # aiohttp reads no headers as large as that
            assert "application/problem+json" == answered["Content-Type"], problem

    assert before == await shop.system.ends("order-commands")
    assert 404 == (await shop.get("/commands/unknown"))[0]


async def test_outliving_the_gateway(shop: Shop) -> None:
    """While nobody decides, commands are answered 202 and their number is bounded. Whatever becomes of the gateway, the
    next one knows them, also one that has no file, and their replies."""
    shop.stop(shop.orders)
    now, kill, leave = (f"late-{new_id()}" for _ in range(3))

    status, pending, headers = await late(shop, now, 0)
    assert (202, f"/commands/{now}") == (status, headers["Location"])
    assert (now, "pending", "OpenOrder") == (pending["command_id"], pending["status"], pending["command"])
    assert (200, pending) == (await shop.get(f"/commands/{now}"))[:2]

    cut = asyncio.create_task(late(shop, kill, 30))
    await eventually(lambda: known(shop, kill), 10, "the command is not on its way")
    shop.stop(shop.gateway, signal.SIGKILL)
    assert isinstance((await asyncio.gather(cut, return_exceptions=True))[0], aiohttp.ClientError)

    await shop.start_gateway(shop.gateway.folder)
    waits = asyncio.create_task(late(shop, leave, 30))
    await eventually(lambda: known(shop, leave), 10, "the command is not on its way")
    shop.stop(shop.gateway)
    assert 202 == (await waits)[0]

    await shop.start_gateway()
    assert ["pending"] * 3 == [await status_of(shop, id) for id in (now, kill, leave)]
    more = [await late(shop, new_id(), 0) for _ in range(PENDING - 2)]
    assert [202] * (PENDING - 3) + [429] == [answer[0] for answer in more]
    assert "1" == more[-1][2]["Retry-After"]
    assert 202 == (await late(shop, now, 0))[0]  # it counts already

    await shop.start_orders()
    waited = await asyncio.gather(*(shop.get(f"/commands/{id}", Prefer="wait=30") for id in (now, kill, leave)))
    assert ["accepted"] * 3 == [answer[1]["status"] for answer in waited]
    status, reply, _ = await late(shop, kill, 30)
    assert (200, waited[1][1]["position"]) == (status, reply["position"])


async def late(shop: Shop, id: str, seconds: int) -> Answer:
    """Open the order of this id by a command of this id."""
    return await shop.post(f"/orders/{id}/commands", "OpenOrder", OPEN, Idempotency_Key=id, Prefer=f"wait={seconds}")


async def known(shop: Shop, id: str) -> bool:
    """Whether the gateway knows a command."""
    return (await shop.get(f"/commands/{id}"))[0] == 200


async def status_of(shop: Shop, id: str) -> str:
    """What the gateway says of a command."""
    return str((await shop.get(f"/commands/{id}"))[1]["status"])
