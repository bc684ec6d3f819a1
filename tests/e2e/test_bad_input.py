"""What a partition does with bad commands: it answers them, keeps them, and goes on."""

from __future__ import annotations

import gzip
import json
import struct
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.record.util import calc_crc32c

from aggregates.shop.order import AddLine, PlaceOrder, order
from schemas.codec import Codec
from schemas.registry import Schemas
from tests.e2e.client import PARTITIONS, eventually, headers, keys_of, partition_of
from tests.e2e.system import System
from tests.e2e.worker import ORDERS

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

PARTITION = 2
"""All that is bad goes there, and so does the good that must still work."""

OPEN = {"user_id": "17850", "kind": "sale", "country": "France", "opened_at": "2010-12-01T08:26:00Z"}
NAIVE = {**OPEN, "opened_at": "2010-12-01T08:26:00"}
LINE = {"sku": "85123A", "description": "T-LIGHT HOLDER", "quantity": 6, "unit_price": "2.55"}
KEYS = keys_of(PARTITION, f"bad-{uuid.uuid4().hex[:6]}-")
BROKER_LIMIT = 1_048_588
"""Kafka's `message.max.bytes`."""

commands = Codec([s for s in Schemas.load("shop", "order") if s.name in order.commands], order.commands)


ADD_LINE = commands.encode(AddLine("85123A", "T-LIGHT HOLDER", 6, Decimal("2.5500")))
UNKNOWN_SCHEMA = b"\xc3\x01" + b"12345678" + b"data"
AVRO, XML = {"content_type": "avro/binary"}, {"content_type": "text/xml"}


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def worker(system: System) -> None:
    """One worker that has all partitions, and an open order."""
    await system.all_served(system.start(ORDERS))


@dataclass(frozen=True)
class Bad:
    """A command that cannot be processed, and what its reply says."""

    name: str
    error: str
    message: str
    value: bytes | None = encoded(LINE)
    type: str = "AddLine"
    attributes: dict[str, str] = field(default_factory=dict)
    key: bytes | str | None = "an order of this partition"


BAD = [
    Bad("JSON cut off", "Unreadable", "AddLine", b'{"sku": "85123A", "quan'),
    Bad("not JSON", "Unreadable", "AddLine", b"\x00\x01\xff\xfe"),
    Bad("text that is not UTF-8", "Unreadable", "AddLine", encoded(LINE).replace(b"HOLDER", b"HOLDER\xff")),
    Bad("JSON of another shape", "Unreadable", "AddLine", b"[1, 2, 3]"),
    Bad("a field is missing", "Unreadable", "quantity", encoded({**LINE} | {"quantity": None})),
    Bad("a string for a number", "Unreadable", "quantity", encoded(LINE | {"quantity": "two"})),
    Bad("a price that is no number", "Unreadable", "unit_price", encoded(LINE | {"unit_price": "dear"})),
    Bad("an unknown kind", "Unreadable", "kind", encoded(OPEN | {"kind": "gift"}), "OpenOrder"),
    Bad("a time without a zone", "Unreadable", "write Z for UTC", encoded(NAIVE), "OpenOrder"),
    Bad("a number that only Python reads", "Unreadable", "unit_price", encoded(LINE | {"unit_price": "2_5"})),
    Bad("an expected sequence that is none", "Unreadable", "'-1'", attributes={"expectedsequence": "-1"}),
    Bad("unknown type", "UnknownCommand", "'Explode'", type="Explode"),
    Bad("an event as a command", "UnknownCommand", "'LineAdded'", type="LineAdded"),
    Bad("no key", "Unreadable", "no key", key=None),
    Bad("empty key", "Unreadable", "no key", key=b""),
    Bad("key that is not UTF-8", "Unreadable", "UTF-8", key=b"\xff\xfe\xfd"),
    Bad("key too long", "Unreadable", "longer", key=b"k" * 513),
    Bad("unreadable deadline", "Unreadable", "'tomorrow'", attributes={"deadline": "tomorrow"}),
    Bad("deadline without a zone", "Unreadable", "zone", attributes={"deadline": "2999-01-01T00:00:00"}),
    Bad("deadline passed", "DeadlinePassed", "passed", attributes={"deadline": "2011-01-01T00:00:00Z"}),
    Bad("too large", "TooLarge", "bytes", encoded(LINE | {"description": "x" * 300_000})),
    Bad("as large as Kafka allows", "TooLarge", "bytes", b" " * (BROKER_LIMIT - 360)),
    Bad("on the wrong partition", "WrongPartition", "murmur2", key="an order of another partition"),
    Bad("unknown content type", "Unreadable", "text/xml", attributes=XML),
    Bad("garbage as Avro", "Unreadable", "Avro", b"\x00garbage", attributes=AVRO),
    Bad("Avro of an unknown schema", "Unreadable", "schema", UNKNOWN_SCHEMA, attributes=AVRO),
    Bad("Avro cut off", "Unreadable", "AddLine", ADD_LINE[:-4], attributes=AVRO),
    Bad("Avro of another command", "Unreadable", "PlaceOrder", commands.encode(PlaceOrder()), attributes=AVRO),
    Bad("tombstone", "Unreadable", "AddLine", None),
]  # fmt: skip


async def good_command_works(system: System) -> None:
    """The next good commands of the partition are accepted."""
    key = next(KEYS)
    opened = await system.ask("order", key, "OpenOrder", OPEN)
    assert ("accepted", ["OrderOpened"], 1) == (opened["status"], opened["events"], opened["aggregate"]["sequence"])
    added = await system.ask("order", key, "AddLine", LINE)
    assert ("accepted", ["LineAdded"], 2) == (added["status"], added["events"], added["aggregate"]["sequence"])


async def dead_letter(system: System, sent: Any) -> Any:
    """The dead letter of a command, by its position."""
    position = f"{sent.topic}:{sent.partition}:{sent.offset}".encode()
    inbox = await system.inbox("order-dead-letters")

    def found() -> list[Any]:
        return [letter for letter in inbox.records if dict(letter.headers)["dl_position"] == position]

    [letter] = await eventually(found, 15, f"no dead letter of {position!r}")
    return letter


async def journalled(system: System) -> set[str]:
    """The ids of all commands that the journal has something of."""
    logs = await system.commits("orders", "order")
    return {event.command_id for log in logs.values() for commit in log for event in commit.events}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_what_cannot_be_processed_is_answered_and_kept(system: System, bad: Bad) -> None:
    """Reply `failed` with the reason, a dead letter of the same bytes, nothing journalled; the partition goes on."""
    key = bad.key
    if isinstance(key, str):
        key = next(KEYS if "this" in key else keys_of((PARTITION + 1) % PARTITIONS, uuid.uuid4().hex)).encode()
    inbox, id = await system.answers(), uuid.uuid4().hex
    sent_headers = headers(id, bad.type, system.topic("answers"), **bad.attributes)
    before = time.time()
    sent = await system.send("order", key, bad.value, sent_headers, PARTITION)

    reply = await inbox.answer(id)
    assert (id, "failed", []) == (reply["command_id"], reply["status"], reply["events"])
    assert bad.error == reply["error"]["type"]
    assert bad.message in reply["error"]["message"]

    letter = await dead_letter(system, sent)
    kept = dict(letter.headers)
    assert (key, tuple(sent_headers)) == (letter.key, letter.headers[: len(sent_headers)])
    if "dl_cut" in kept:  # with the reason added, it would be larger than Kafka allows
        assert bad.name == "as large as Kafka allows"
        assert bad.value
        assert bad.value.startswith(letter.value)
        assert len(letter.value) > BROKER_LIMIT - 4_096
    else:
        assert bad.value == letter.value
    assert reply["error"] == {name: kept[f"dl_{name}"].decode() for name in ("type", "message")}
    assert before - 1 < int(kept["dl_time"]) / 1000 < time.time() + 1
    await good_command_works(system)
    assert id not in await journalled(system)


@pytest.mark.parametrize(
    "value", [None, b"", b"\x00\xff garbage", b'{"data": {}}', b'{"type": 7}', b'"AddLine"'], ids=repr
)
async def test_what_is_no_cloudevent_is_kept(system: System, value: bytes | None) -> None:
    """A message without headers that is no JSON object with a type, a tombstone too, becomes a dead letter."""
    sent = await system.send("order", next(KEYS), value, (), PARTITION)
    letter = await dead_letter(system, sent)
    assert (value, b"Unreadable") == (letter.value, dict(letter.headers)["dl_type"])
    await good_command_works(system)


async def test_header_that_is_no_text_is_kept(system: System) -> None:
    """A command id that is not UTF-8 becomes a dead letter with that very header."""
    odd = [("ce_id", b"\xff\xfe"), ("ce_type", b"AddLine"), ("other", b"\x80")]
    letter = await dead_letter(system, await system.send("order", next(KEYS), encoded(LINE), odd, PARTITION))
    assert tuple(odd) == letter.headers[:3]
    assert b"ce_id" in dict(letter.headers)["dl_message"]
    await good_command_works(system)


async def test_what_only_compression_made_fit_stops_nothing(system: System) -> None:
    """A command that unpacks to more than a Kafka message may hold is answered, and the partition goes on."""
    inbox, id, value = await system.answers(), uuid.uuid4().hex, b" " * 5_000_000
    assert len(gzip.compress(value)) < BROKER_LIMIT
    producer = system.clients.producer(compression_type="gzip", max_request_size=2 * len(value))
    async with producer:
        sent_headers = headers(id, "AddLine", system.topic("answers"))
        key, topic = next(KEYS).encode(), system.topic("order-commands")
        sent = await producer.send_and_wait(topic, value, key=key, headers=sent_headers)
    reply = await inbox.answer(id)
    assert ("failed", "TooLarge") == (reply["status"], reply["error"]["type"])
    assert key == (await dead_letter(system, sent)).key
    await good_command_works(system)


async def test_nesting_is_kept(system: System) -> None:
    """JSON that is nested deeply, in structured mode, is answered and kept, and the partition goes on."""
    inbox, id = await system.answers(), uuid.uuid4().hex
    deep = b"[" * 5_000 + b"]" * 5_000
    value = b'{"type":"OpenOrder","id":"%s","replyto":"%s","data":%s}'
    value %= id.encode(), system.topic("answers").encode(), deep
    sent = await system.send("order", next(KEYS), value, (), PARTITION)
    assert b"nested" in dict((await dead_letter(system, sent)).headers)["dl_message"]
    assert id not in inbox.by_key, "neither id nor reply topic can be read in it"
    await good_command_works(system)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_every_codec(system: System, codec: str) -> None:
    """A command that its producer has compressed is decided; one batch that is a bomb is kept from everybody."""
    inbox, id, key = await system.answers(), uuid.uuid4().hex, next(KEYS)
    bomb = bytes(90_000_000 if codec == "zstd" else 20_000_000)
    async with system.clients.producer(compression_type=codec, max_request_size=2 * len(bomb)) as producer:
        sent_headers = headers(id, "OpenOrder", system.topic("answers"))
        topic = system.topic("order-commands")
        await producer.send_and_wait(topic, encoded(OPEN), key=key.encode(), headers=sent_headers)
        assert "accepted" == (await inbox.answer(id))["status"]
        if codec == "zstd":
            sent = await producer.send_and_wait(topic, bomb, key=key.encode(), partition=PARTITION)
            kept = dict((await dead_letter(system, sent)).headers)
            assert (b"Unreadable", b"0") == (kept["dl_type"], kept["dl_cut"])
            assert b"unpacks to more than" in kept["dl_message"]
    await good_command_works(system)


async def test_a_header_name_that_is_no_text(system: System) -> None:
    """A command with such a header, as librdkafka can write it, is decided as any other."""
    inbox, id, key = await system.answers(), uuid.uuid4().hex, next(KEYS)
    sent_headers = [("ab", b"x"), *headers(id, "OpenOrder", system.topic("answers"))]
    async with system.clients.producer() as producer:
        batch = producer.create_batch()
        batch.append(key=key.encode(), value=encoded(OPEN), timestamp=None, headers=sent_headers)
        data = bytearray(batch._build())
        at = data.index(b"\x04ab")
        data[at + 1 : at + 3] = b"\xff\xfe"
        crc = calc_crc32c(bytes(data[DefaultRecordBase.ATTRIBUTES_OFFSET :]))
        struct.pack_into(">I", data, DefaultRecordBase.CRC_OFFSET, crc)
        batch._buffer = data
        await (await producer.send_batch(batch, system.topic("order-commands"), partition=PARTITION))
    assert "accepted" == (await inbox.answer(id))["status"]
    await good_command_works(system)


async def test_what_is_taken_back_is_not_decided(system: System) -> None:
    """Commands of a transaction that is aborted are not decided, those of one that is committed are, once it is."""
    inbox, key = await system.answers(), next(KEYS)
    ids = {"abort": uuid.uuid4().hex, "commit": uuid.uuid4().hex}
    topic = system.topic("order-commands")
    async with system.clients.producer(transactional_id=uuid.uuid4().hex) as producer:
        for end, id in ids.items():
            await producer.begin_transaction()
            sent_headers = headers(id, "OpenOrder", system.topic("answers"))
            await producer.send_and_wait(topic, encoded(OPEN), key=key.encode(), headers=sent_headers)
            await (producer.abort_transaction() if end == "abort" else producer.commit_transaction())
    reply = await inbox.answer(ids["commit"])
    assert ("accepted", ["OrderOpened"]) == (reply["status"], reply["events"])
    await good_command_works(system)
    assert ids["abort"] not in inbox.by_key
    assert ids["abort"] not in await journalled(system)


async def test_what_the_domain_refuses_is_answered_and_not_kept(system: System) -> None:
    """A negative quantity is `rejected`: no dead letter, nothing in the journal."""
    key, letters = next(KEYS), await system.ends("order-dead-letters")
    await system.ask("order", key, "OpenOrder", OPEN)
    reply = await system.ask("order", key, "AddLine", LINE | {"quantity": -3})
    assert ("rejected", [], "InvalidQuantity") == (reply["status"], reply["events"], reply["error"]["type"])
    assert {"type": "order", "id": key, "sequence": 1} == reply["aggregate"]
    assert reply["command_id"] not in await journalled(system)
    assert letters == await system.ends("order-dead-letters")


async def test_refusal_is_decided_again(system: System) -> None:
    """A rejected command that is sent again is accepted when the domain then says yes."""
    key, id = next(KEYS), uuid.uuid4().hex
    refused = await system.ask("order", key, "AddLine", LINE, id)
    assert ("rejected", "UnknownOrder") == (refused["status"], refused["error"]["type"])
    await system.ask("order", key, "OpenOrder", OPEN)
    accepted = await system.ask("order", key, "AddLine", LINE, id)
    assert ("accepted", ["LineAdded"]) == (accepted["status"], accepted["events"])


async def test_accepted_command_has_one_effect_and_one_reply(system: System) -> None:
    """A command that was accepted gets its first reply again, byte for byte, whatever came in between and however it is
    spelled, and no event; another one with its id is refused."""
    key, id, inbox = next(KEYS), uuid.uuid4().hex, await system.answers()
    await system.ask("order", key, "OpenOrder", OPEN)
    for data in (LINE, LINE, LINE | {"unit_price": "2.5500"}):
        await system.ask("order", key, "AddLine", data, id)
        await system.ask("order", key, "AddLine", LINE)
    assert 3 == len(inbox.by_key[id])
    assert 1 == len({record.value for record in inbox.by_key[id]})
    for type, data in (("AddLine", LINE | {"quantity": 99}), ("CancelOrder", {"reason": "x"})):
        refused = await system.ask("order", key, type, data, id)
        assert ("failed", "IdUsedBefore") == (refused["status"], refused["error"]["type"])
    logs = await system.commits("orders", "order")
    assert 1 == sum(event.command_id == id for log in logs.values() for commit in log for event in commit.events)


async def test_command_without_effect_keeps_its_reply(system: System) -> None:
    """A repeat of what is done already is accepted without an event, and its repeat gets the same bytes."""
    key, id, inbox = next(KEYS), uuid.uuid4().hex, await system.answers()
    first = await system.ask("order", key, "OpenOrder", OPEN)
    again = await system.ask("order", key, "OpenOrder", OPEN, id)
    assert ("accepted", [], first["aggregate"]) == (again["status"], again["events"], again["aggregate"])
    await system.ask("order", key, "AddLine", LINE)
    await system.ask("order", key, "OpenOrder", OPEN, id)
    assert 1 == len({record.value for record in inbox.by_key[id]})


async def test_structured_mode(system: System) -> None:
    """A CloudEvent in structured mode has its attributes in the JSON; the reply's key is its correlation id."""
    key, id, correlation, inbox = next(KEYS), uuid.uuid4().hex, uuid.uuid4().hex, await system.answers()
    deadline = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    event = {
        "specversion": "1.0", "id": id, "source": "/tests/e2e", "type": "OpenOrder", "data": OPEN, "deadline": deadline,
        "datacontenttype": "application/json", "replyto": system.topic("answers"), "correlationid": correlation,
    }  # fmt: skip
    content_type = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    await system.send("order", key, encoded(event), content_type)
    reply = await inbox.answer(correlation)
    assert (id, "accepted", ["OrderOpened"]) == (reply["command_id"], reply["status"], reply["events"])


async def test_form_that_a_person_types(system: System) -> None:
    """`{"type", "data"}` without any header is a command; it has an id, and its effect is in the journal."""
    key = next(KEYS)
    await system.send("order", key, encoded({"type": "OpenOrder", "data": OPEN}))
    await system.send("order", key, encoded({"type": "AddLine", "data": LINE}))
    refused = await system.ask("order", key, "PlaceOrder", {"unknown": "fields are left out"})
    assert ("accepted", 3) == (refused["status"], refused["aggregate"]["sequence"])
    logs = await system.commits("orders", "order")
    ids = [e.command_id for log in logs.values() for commit in log for e in commit.events if e.aggregate_id == key]
    assert (3, True) == (len(set(ids)), all(ids))


async def test_avro_command(system: System) -> None:
    """A command in Avro single-object encoding does what the same in JSON does."""
    key, id, inbox = next(KEYS), uuid.uuid4().hex, await system.answers()
    await system.ask("order", key, "OpenOrder", OPEN)
    await system.send("order", key, ADD_LINE, headers(id, "AddLine", system.topic("answers"), **AVRO))
    assert ("accepted", ["LineAdded"]) == ((reply := await inbox.answer(id))["status"], reply["events"])


async def test_reply_topic_is_made(system: System) -> None:
    """A reply topic that does not exist is made by the application, and gets the replies."""
    name, id, key = f"new-{uuid.uuid4().hex[:6]}", uuid.uuid4().hex, next(KEYS)
    await system.command("order", key, "OpenOrder", OPEN, id, system.topic(name))
    assert "accepted" == (await (await system.inbox(name)).answer(id))["status"]


@pytest.mark.parametrize("name", ["order-events", "order-commands", "user-commits", "order-dead-letters"])
async def test_reply_never_goes_to_a_topic_of_the_system(system: System, name: str) -> None:
    """A command that wants its reply in a topic that the system reads is processed, and no reply is sent there."""
    key, id = next(KEYS), uuid.uuid4().hex
    await system.command("order", key, "OpenOrder", OPEN, id, system.topic(name))
    await good_command_works(system)  # in the same partition: what was before it is done
    await system.command("order", key, "OpenOrder", OPEN, id, system.topic(name))
    await good_command_works(system)
    assert id in await journalled(system)
    if system.topic(name) in await system.topics():
        replies = [r for r in await system.read(name) if r.key == id.encode()]
        assert [] == replies


@pytest.mark.parametrize("name", ["not a topic!", "__consumer_offsets", "x" * 300])
async def test_reply_topic_that_cannot_be(system: System, name: str) -> None:
    """A command whose reply topic Kafka refuses is processed, and the replies of others go out."""
    key, id = next(KEYS), uuid.uuid4().hex
    await system.command("order", key, "OpenOrder", OPEN, id, name)
    await good_command_works(system)
    assert id in await journalled(system)


async def test_key_and_partition_are_those_of_the_java_client(system: System) -> None:
    """The partition of a command decides the stream that its reply names."""
    key = next(KEYS)
    reply = await system.ask("order", key, "OpenOrder", OPEN)
    assert (partition_of(key), f"order-{PARTITION}") == (PARTITION, reply["position"].rpartition(":")[0])
