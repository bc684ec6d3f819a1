"""Queries over HTTP with two workers: any of them answers, and one that falls away is never a wrong answer."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.e2e.client import PARTITIONS, eventually, partition_of
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

OPEN = {"user_id": "17850", "kind": "sale", "country": "France", "opened_at": "2010-12-01T08:26:00Z"}
LINE = {"sku": "85123A", "description": "T-LIGHT HOLDER", "quantity": 6, "unit_price": "2.55"}
ORDERS_OPEN = 40
LONGEST_ANSWER = 10.0


@dataclass(frozen=True)
class Doors:
    """Both workers, and the orders that exist."""

    one: Worker
    two: Worker
    orders: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(system: System) -> Doors:
    """An order worker, two projection workers, and open orders in every partition."""
    orders, one, two = system.start(ORDERS), system.start(PROJECTIONS), system.start(PROJECTIONS)
    await system.all_served(orders)
    await system.all_served(one, two)
    keys = [f"read-{number}" for number in range(ORDERS_OPEN)]
    assert set(range(PARTITIONS)) == set(map(partition_of, keys))
    replies = await asyncio.gather(*(system.ask("order", key, "OpenOrder", OPEN) for key in keys))
    for reply in replies:
        await answer(system, one, f"/orders/{reply['aggregate']['id']}", reply["position"])
    return Doors(one, two, keys)


async def answer(system: System, worker: Worker, path: str, at_least: str) -> tuple[dict[str, object], dict[str, str]]:
    """What a worker says once it has reached a position."""
    status, body, headers = await system.get(worker, path, At_Least=at_least, Prefer="wait=30")
    assert 200 == status, body
    return body, headers


async def test_any_worker_answers_for_any_key(system: System, doors: Doors) -> None:
    """Both workers give the same row and ETag for every key, though each has but a part of them."""
    assert all([await system.partitions(doors.one), await system.partitions(doors.two)])
    for key in doors.orders:
        one, two = await asyncio.gather(*(system.get(worker, f"/orders/{key}") for worker in (doors.one, doors.two)))
        assert (200, key, "open") == (one[0], one[1]["id"], one[1]["status"])
        assert (one[1], one[2]["ETag"]) == (two[1], two[2]["ETag"])


async def test_schemas_by_fingerprint(system: System, doors: Doors) -> None:
    """Any worker has the schema that an event's header names, for ever the same, and lists what it knows."""
    _, listed, _ = await system.get(doors.one, "/schemas")
    named = {(schema["name"], schema["version"]): schema["fingerprint"] for schema in listed["schemas"]}
    assert {f"shop.order.OrderCancelled:{version}" for version in (1, 2)} == {
        f"{name}:{version}" for name, version in named if name.endswith("OrderCancelled")
    }
    for record in (await system.read("order-events"))[:5]:
        fingerprint = record.value[2:10].hex()
        for worker in (doors.one, doors.two):
            status, schema, headers = await system.get(worker, f"/schemas/{fingerprint}")
            assert (200, "OrderOpened", "shop.order") == (status, schema["name"], schema["namespace"])
            assert (f'"{fingerprint}"', True) == (headers["ETag"], "immutable" in headers["Cache-Control"])
        assert fingerprint == named["shop.order.OrderOpened", schema["version"]]


@pytest.mark.parametrize(("fingerprint", "status"), [("0123456789abcdef", 404), ("0123456789ABCDEF", 400), ("x", 400)])
async def test_no_such_schema(system: System, doors: Doors, fingerprint: str, status: int) -> None:
    """What is no fingerprint is a bad request, and one that nobody has written is not found."""
    answered, body, _ = await system.get(doors.one, f"/schemas/{fingerprint}")
    assert (status, status) == (answered, body["status"])


async def test_etag_names_the_representation_and_spares_the_body(system: System, doors: Doors) -> None:
    """It says table, position and sequence. `If-None-Match` with it, also weak or in a list, gives 304 without a body
    at both workers, until the order changes."""
    key = doors.orders[0]
    _, _, headers = await system.get(doors.one, f"/orders/{key}")
    etag = headers["ETag"]
    assert etag.startswith(f'"orders-1/order-{partition_of(key)}:')
    for worker in (doors.one, doors.two):
        for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
            status, body, headers = await system.get(worker, f"/orders/{key}", If_None_Match=known)
            assert (304, None, etag) == (status, body, headers["ETag"])
            assert ("Accept", "no-cache") == (headers["Vary"], headers["Cache-Control"])
        assert "Accept" == (await system.get(worker, "/orders"))[2]["Vary"]
    reply = await system.ask("order", key, "AddLine", LINE)
    for worker in (doors.one, doors.two):
        path = f"/orders/{key}"
        status, body, headers = await system.get(worker, path, If_None_Match=etag, At_Least=reply["position"])
        assert (200, "15.30") == (status, body["total"])
        assert etag != headers["ETag"]


@pytest.mark.parametrize("key", [".", "..", "a/b", "a%b", "é"])
async def test_odd_ids_are_the_same_at_every_worker(system: System, doors: Doors, key: str) -> None:
    """Each worker answers for each id, whatever it would mean in a path."""
    await system.ask("order", key, "OpenOrder", OPEN | {"user_id": "odd"})
    path = "/orders/" + "".join(f"%{byte:02X}" for byte in key.encode())
    for worker in (doors.one, doors.two):

        async def shown(worker: Worker = worker) -> bool:
            async with system.http.get(URL(worker.url + path, encoded=True)) as response:
                return response.status == 200 and (await response.json())["id"] == key

        await eventually(shown, 20, f"{key} is not shown at {worker.url}")


async def test_all_positions_are_waited_for(system: System, doors: Doors) -> None:
    """Of several `At-Least` each counts, wherever it stands; what is none is a bad request, however long."""
    key = doors.orders[0]
    there, never = f"order-{partition_of(key)}:1", f"order-{(partition_of(key) + 1) % PARTITIONS}:999999"
    for worker in (doors.one, doors.two):
        for positions in ((there, never), (never, there), (f"{there}, {never}",)):
            headers = [*(("At-Least", position) for position in positions), ("Prefer", "wait=1")]
            async with system.http.get(f"{worker.url}/orders/{key}", headers=headers) as response:
                told = await response.json()
                assert (503, "1") == (response.status, response.headers["Retry-After"])
                assert f"{never} is not applied yet" == told["detail"]
        for wrong in (
            "order-" + "9" * 5_000 + ":1",
            "order-0:" + "9" * 5_000,
            "nothing-0:1",
            "order-99:1",
            "order-0:1,",
        ):
            status, body, _ = await system.get(worker, f"/orders/{key}", At_Least=wrong)
            assert (400, "Bad position") == (status, body["title"])


@pytest.mark.parametrize("path", ["/orders/none", "/products/none", "/users/none", "/orders/none/history", "/nowhere"])
async def test_what_does_not_exist_is_404(system: System, doors: Doors, path: str) -> None:
    """404 as problem details, from each worker."""
    for worker in (doors.one, doors.two):
        status, body, headers = await system.get(worker, path)
        assert (404, 404) == (status, body["status"])
        assert headers["Content-Type"].startswith("application/problem+json")


async def test_writes_are_read_at_once(system: System, doors: Doors) -> None:
    """A GET with the position of a reply, sent right after it, shows that write: every time, at every worker."""
    key, inbox = doors.orders[1], await system.answers()
    for number in range(1, 31):
        id = await system.command("order", key, "AddLine", LINE | {"quantity": 1}, "", system.topic("answers"))
        reply = await inbox.answer(id)
        worker = (doors.one, doors.two)[number % 2]
        body, _ = await answer(system, worker, f"/orders/{key}", reply["position"])
        assert number == sum(line["quantity"] for line in body["lines"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/orders/read-2", "/users/17850/orders", "/analytics/revenue", "/lag"])
async def test_any_query_waits_for_a_write(system: System, doors: Doors, path: str) -> None:
    """Every GET takes `At-Least`; for a position that does not come it is 503 with Retry-After when the time is up."""
    reply = await system.ask("order", "read-2", "AddLine", LINE)
    await answer(system, doors.one, path, reply["position"])
    began = time.monotonic()
    status, body, headers = await system.get(doors.two, path, At_Least="order-1:999999", Prefer="wait=1")
    assert (503, 503) == (status, body["status"])
    assert int(headers["Retry-After"]) > 0
    assert 0.9 < time.monotonic() - began < LONGEST_ANSWER


@pytest.mark.parametrize(
    "position", ["", "7", "order-1", "order-99:1", "nothing-1:1", "order-1:x", "order-1:-1", "order--1:1"]
)
async def test_position_that_is_none(system: System, doors: Doors, position: str) -> None:
    """400 as problem details that say what a position looks like."""
    for worker in (doors.one, doors.two):
        status, body, headers = await system.get(worker, "/orders/read-3", At_Least=position)
        assert (400, 400) == (status, body["status"])
        assert headers["Content-Type"].startswith("application/problem+json")
        assert "order-3:125" in body["detail"]


async def test_lists_are_whole(system: System, doors: Doors) -> None:
    """A user's orders are put together from all workers."""
    for worker in (doors.one, doors.two):
        status, body, _ = await system.get(worker, "/users/17850/orders")
        assert (200, sorted(doors.orders)) == (status, sorted(order["id"] for order in body["orders"]))


async def test_killed_worker_is_503_until_another_serves(system: System, doors: Doors) -> None:
    """kill -9: for a key that exists the other worker says 200 or 503 with Retry-After, never 404 and never nothing,
    and in the end 200 for all of them, with what they were."""
    victim, survivor = doors.one, doors.two
    lost = await system.partitions(victim)
    assert lost
    before = {key: (await system.get(survivor, f"/orders/{key}"))[1] for key in doors.orders}
    victim.signal(signal.SIGKILL)
    seen: set[int] = set()

    async def ask(key: str) -> bool:
        began = time.monotonic()
        try:
            status, body, headers = await system.get(survivor, f"/orders/{key}")
        except aiohttp.ClientError as error:
            pytest.fail(f"no answer for {key}: {error!r}")
        assert time.monotonic() - began < LONGEST_ANSWER
        assert status in (200, 503), body
        assert status == 200 or int(headers["Retry-After"]) > 0
        assert status == 503 or before[key] == body
        seen.add(status)
        return bool(status == 200)

    async def all_answered() -> bool:
        return all(await asyncio.gather(*map(ask, doors.orders))) and await system.partitions(survivor) == [0, 1, 2, 3]

    await eventually(all_answered, 60, survivor.tail)
    assert {200, 503} == seen, "the keys of the victim were not to be had at first"
    key = next(key for key in doors.orders if partition_of(key) in lost)
    reply = await system.ask("order", key, "AddLine", LINE, uuid.uuid4().hex)
    body, _ = await answer(system, survivor, f"/orders/{key}", reply["position"])
    assert len(before[key]["lines"]) < 2
    assert 6 <= sum(line["quantity"] for line in body["lines"])  # type: ignore[attr-defined]
