"""Readers in Java and Node make of our events what our tables show, in both forms that a value may have; a producer in
Java gets its replies; the CloudEvents SDK reads our headers."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from streams.keys.keys import Keys
from streams.keys.records import subject_id
from streams.settings import Settings
from tests.e2e.client import eventually
from tests.e2e.system import ROOT, System
from tests.e2e.worker import ORDERS, PRODUCTS, PROJECTIONS, USERS, Worker
from tests.foreign.conftest import Program

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

OPEN = {"user_id": "17850", "kind": "sale"}
AT_ONCE = 20


@dataclass
class Sold:
    """The system after two replays, the second of which was published in the wire format of a registry."""

    system: System
    door: Worker
    registry: str

    @property
    def brokers(self) -> str:
        return ",".join(self.system.servers)

    async def totals(self) -> dict[str, Decimal]:
        """The total of every order that has an event, as the table has it."""
        ids = {record.key.decode() for record in await self.system.read("order-events")}
        turns = asyncio.Semaphore(AT_ONCE)

        async def total(id: str) -> Decimal:
            async with turns:
                status, row, _ = await self.system.get(self.door, f"/orders/{id}")
            assert 200 == status
            return Decimal(row["total"])

        return dict(zip(ids, await asyncio.gather(*map(total, ids)), strict=True))


async def replay(system: System, door: Worker, *run: str) -> None:
    """Send a file of sales; its orders are in the tables when this returns."""
    ended = await system.run("-A", PROJECTIONS, "replay", *run, "--wait", "--url", door.url)
    assert 0 == ended.returncode, ended.stdout + ended.stderr


def invoices(file: str) -> set[str]:
    """The numbers of the invoices and credits of a file of sales."""
    with gzip.open(file, "rt") as rows:
        return {row["InvoiceNo"] for row in csv.DictReader(rows)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sold(system: System, registry_url: str) -> Sold:
    """Generated sales as Avro single objects, with an order that has lost a line; then others, in the wire format."""
    workers = [system.start(module) for module in (PRODUCTS, ORDERS, USERS, PROJECTIONS)]
    await asyncio.gather(*map(system.all_served, workers))
    door = workers[-1]
    first, second = (str(system.data / name) for name in ("first.csv.gz", "second.csv.gz"))
    for file, start, seed in ((first, "2011-06-29", "1"), (second, "2011-07-04", "2")):
        days = "--days", "2", "--start", start, "--seed", seed
        made = await system.run("-A", PROJECTIONS, "generate-sales", file, *days)
        assert 0 == made.returncode, made.stderr
    assert invoices(first).isdisjoint(invoices(second)), "a replay of what was replayed changes nothing"
    await replay(system, door, first)
    line = {"sku": "A", "description": "HOLDER", "quantity": 3, "unit_price": "0.125"}
    for command, data in (("OpenOrder", OPEN), ("AddLine", line), ("AddLine", {**line, "sku": "B"}),
                          ("RemoveLine", {"sku": "A"})):  # fmt: skip
        assert "accepted" == (await system.ask("order", "less", command, data))["status"]
    door.signal(signal.SIGTERM)
    await eventually(lambda: not door.running, 30, door.tail)
    door = system.start(PROJECTIONS, SCHEMA_REGISTRY_URL=registry_url)
    await system.all_served(door)
    await replay(system, door, second)
    return Sold(system, door, registry_url)


async def test_both_forms_stand_in_one_topic(sold: Sold) -> None:
    """What the readers below read is half in one form and half in the other, or about so."""
    forms = [record.value[:1] for record in await sold.system.read("order-events")]
    assert {b"\xc3", b"\x00"} == set(forms)
    assert min(forms.count(form) for form in set(forms)) > 500


async def test_totals_in_java(sold: Sold, java: Program) -> None:
    """The official Avro and Kafka libraries for Java add up the same total for every order."""
    events = sold.system.topic("order-events")
    printed = await java("shop.OrderTotals", sold.brokers, events, sold.door.url, sold.registry)
    assert await sold.totals() == {id: Decimal(total) for id, total in json.loads(printed).items()}


async def test_totals_in_node(sold: Sold, node: Program) -> None:
    """`avsc` and `kafkajs` add up the same total for every order."""
    events = sold.system.topic("order-events")
    printed = await node("order-totals.js", sold.brokers, events, sold.door.url, sold.registry)
    assert await sold.totals() == {id: Decimal(total) for id, total in json.loads(printed).items()}


async def test_commands_from_java(sold: Sold, java: Program) -> None:
    """A producer in Java gets a reply to each command, in JSON and in Avro; the same id again gets the first one."""
    await sold.system.answers()
    topics = [sold.system.topic(name) for name in ("order-commands", "answers")]
    schema = ROOT / "schemas/shop/order/AddLine.v1.avsc"
    printed = await java("shop.SendCommands", sold.brokers, *topics, "from-java", schema)
    replies = [json.loads(line) for line in printed.splitlines()]
    assert [
        ("accepted", ["OrderOpened"], None),
        ("accepted", ["LineAdded"], None),
        ("accepted", ["LineAdded"], None),
        ("rejected", [], "UnknownLine"),
        ("failed", [], "UnknownCommand"),
        ("accepted", ["OrderPlaced"], None),
    ] == [(it["status"], it["events"], it["error"] and it["error"]["type"]) for it in replies]
    assert replies[1] == replies[2]
    status, row, _ = await sold.system.get(sold.door, "/orders/from-java", At_Least=replies[-1]["position"])
    assert (200, "placed", "15.30") == (status, row["status"], row["total"])


@dataclass
class Named:
    """Users with names: with a key that readers get, without one, forgotten, and without a name."""

    sold: Sold
    keys: Path

    async def names(self, program: Program, name: str) -> Any:
        """What a reader makes of them."""
        system = self.sold.system
        topic = system.topic("user-events")
        arguments = self.sold.brokers, topic, self.sold.door.url, system.namespace, self.keys, self.sold.registry
        printed = json.loads(await program(name, *arguments))
        return {id: printed.get(id, "missing") for id in ("ada", "bob", "eve", "nobody")}


NAMES = {"ada": "Ada Lovelace", "bob": {"sealed": True}, "eve": {"erased": True}, "nobody": None}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def named(sold: Sold) -> Named:
    """Ada's key is given to the readers; Eve is forgotten, as an order says, and has none."""
    system = sold.system
    people = {"ada": "Ada Lovelace", "bob": "Bob", "eve": "Eve"}
    for id in ("ada", "bob", "eve", "nobody"):
        reply = await system.ask("user", id, "RegisterUser", {"country": "France", "name": people.get(id)})
        assert "accepted" == reply["status"]
    ended = await system.run("-A", USERS, "subjects", "forget", "eve", "--yes", "--reason", "asked for")
    assert 0 == ended.returncode, ended.stderr
    store = Keys.of(Settings(journal_url=system.journal_url, namespace=system.namespace, data_dir=system.data))
    given: dict[str, Any] = {"eve": {"number": 1, "key": None}}
    try:
        await store.open()
        row = (await store._rows.get([subject_id("ada")]))[subject_id("ada")]
        key, secret = await store._settled(subject_id("ada"), row, create=False)
        assert key is not None
        given["ada"] = {"number": key.number, "key": secret.hex()}
    finally:
        await store.close()
    file = system.data / "given-keys.json"
    file.write_text(json.dumps(given))

    async def are_published() -> bool:
        return {*NAMES} <= {record.key.decode() for record in await system.read("user-events")}

    await eventually(are_published, 30, sold.door.tail)
    return Named(sold, file)


async def test_names_in_java(named: Named, java: Program) -> None:
    """With a key a name is opened, without one it is seen that there is one, and that one is gone for ever."""
    assert NAMES == await named.names(java, "shop.UserNames")


async def test_names_in_node(named: Named, node: Program) -> None:
    """The same, with what Node has of its own."""
    assert NAMES == await named.names(node, "user-names.js")


async def test_headers_are_those_of_a_cloud_event(sold: Sold) -> None:
    """The SDK of CloudEvents finds the attributes of every event, and our extensions."""
    now = datetime.now(UTC)
    for record in (await sold.system.read("order-events"))[:500]:
        headers = dict(record.headers)
        event = from_binary_event(KafkaMessage(headers, record.key, record.value), Untouched())
        assert (headers["ce_id"].decode(), headers["ce_type"].decode()) == (event.get_id(), event.get_type())
        assert (f"/{sold.system.namespace}orders", record.key.decode()) == (event.get_source(), event.get_subject())
        assert ("1.0", "avro/binary") == (event.get_specversion(), event.get_datacontenttype())
        assert event.get_dataschema().startswith(f"urn:avro:shop.order.{event.get_type()}:")
        assert now - timedelta(hours=1) < event.get_time() <= now
        assert headers["ce_sequence"].decode() == event.get_extension("sequence")
        assert headers["ce_causationid"].decode() == event.get_extension("causationid")
        assert headers["ce_position"].decode() == event.get_extension("position")
        assert record.value == event.get_data()


class Untouched:
    """A format for the SDK that leaves the data as it is: it knows JSON only."""

    def read_data(self, body: bytes, content_type: str | None) -> Any:
        return body
