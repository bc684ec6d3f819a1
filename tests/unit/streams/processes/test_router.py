"""What an event of another context becomes on its way to a process manager, and when it must wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.structs import TopicPartition

from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction
from aggregates.shop.checkout import StartCheckout, checkout
from aggregates.shop.order import LineAdded, OrderConfirmed, OrderOpened, PlaceOrder, order
from schemas.codec import Codec
from schemas.registry import Schema, SchemaError, Schemas
from schemas.release import samples
from streams.aggregate_type import AggregateType
from streams.deciding.messages import Message
from streams.journal.event_decoding import NotReadableYet
from streams.kafka.client import ProducerRecord, RecordTooLarge, partition_of
from streams.kafka.fetching.batches import unreadable_record
from streams.processes.event_meaning import EventMeaning
from streams.processes.router import Router
from streams.settings import Settings
from tests.compatibility.test_samples import FOLDER

ORDERS, PRODUCTS = Schemas.load("shop", "order"), Schemas.load("shop", "product")
CODEC = Codec([s for s in ORDERS if s.name not in order.commands], order.events)


PLACED = [("ce_id", b"order-3:17:0"), ("ce_position", b"order-3:17:0")]
NAMED = [("ce_type", b"OrderConfirmed"), *PLACED]


@dataclass(frozen=True)
class Note:
    """A command of a process manager that hears all."""

    what: str


def hears(*types: str, hear: Any = None) -> ProcessManager[Any, Any, Any]:
    """A process manager that hears these of orders, and notes what it heard, for one process each `o` and `p`."""

    def note(happened: ForeignEvent) -> list[Reaction[Any]]:
        return [Reaction("o", Note(happened.type)), Reaction("p", Note(happened.id))]

    return replace(checkout, hears={"order": types}, hear=hear or note)


def record(type: str, value: bytes, **headers: str) -> Any:
    attributes = {
        "ce_id": "order-3:17:0",
        "ce_position": "order-3:17:0",
        "ce_type": type,
        "ce_correlationid": "placing",
        **headers,
    }
    encoded = [(name, text.encode()) for name, text in attributes.items()]
    return SimpleNamespace(topic="order-events", partition=3, offset=5, key=b"17", value=value, headers=encoded)


def stored(type: str, name: str, version: int) -> bytes:
    """The bytes of an event as a version of then wrote it."""
    return samples.read_sample(FOLDER / "shop" / type / f"{name}.v{version}.json").encoded["avro"]


def test_an_event_becomes_commands() -> None:
    """One for each process that it concerns, in the partition of its key, with the event's id and trace."""
    listener = EventMeaning(hears("OrderConfirmed"), "order", ORDERS)
    event = record("OrderConfirmed", CODEC.encode(OrderConfirmed()), ce_traceparent="00-a-b-01")
    first, second = listener.hear(event, 8, "/checkout")
    assert (partition_of(b"o", 8), b"o", {"what": "OrderConfirmed"}) == (first[0], first[1][0], read(first))
    assert {
        "ce_specversion": b"1.0",
        "ce_id": b"order-3:17:0",
        "ce_type": b"Note",
        "ce_source": b"/checkout",
        "ce_correlationid": b"placing",
        "ce_causationid": b"order-3:17:0",
        "ce_traceparent": b"00-a-b-01",
        "content-type": b"application/json",
    } == dict(first[1][2])
    assert (b"p", b"order-3:17:0#1", {"what": "17"}) == (second[1][0], dict(second[1][2])["ce_id"], read(second))


def read(routed: Any) -> Any:
    return msgspec.json.decode(routed[1][1])


def test_what_does_not_concern_it_is_skipped_unread() -> None:
    """An event of another name, also one that nobody here knows, keeps nobody waiting, whatever its bytes."""
    listener = EventMeaning(hears("OrderConfirmed"), "order", ORDERS)
    assert [] == listener.hear(record("LineAdded", b"anything"), 8, "/checkout")
    assert [] == listener.hear(record("OrderGiftWrapped", b"\xc3\x01 of tomorrow"), 8, "/checkout")


@pytest.mark.parametrize(
    "forged",
    [
        {"headers": []},
        {"headers": [("ce_type", b"\xff")]},
        {"headers": [("ce_type", b"OrderConfirmed")]},
        {"key": None},
        {"key": b"\xff"},
        {"value": None},
        {"headers": [("ce_type", None)]},
        {"headers": [("ce_type", b"OrderConfirmed"), ("ce_id", None)]},
        {"headers": [("ce_type", b"OrderConfirmed"), ("ce_id", b"7b1f"), ("x", None)]},
        {"headers": [("ce_type", b"OrderConfirmed"), ("ce_id", b"7b1f"), ("ce_position", b"order-3:17:0")]},
        {"headers": [("ce_type", b"OrderConfirmed"), ("ce_id", b"order-3:17:0")]},
        {"headers": [*NAMED[:1], *((name, b"order-4:17:0") for name, _ in PLACED)]},
        {"headers": [*NAMED[:1], *((name, b"product-3:17:0") for name, _ in PLACED)]},
        {"headers": [*NAMED, ("ce_correlationid", b"\xff")]},
        {"headers": [*NAMED, ("ce_traceparent", b"\xff")]},
    ],
    ids=lambda forged: str(forged)[:80],
)
def test_what_is_no_event_is_skipped(forged: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """A record that no journal has published means nothing, stops nobody, and is said once."""
    its = record("OrderConfirmed", CODEC.encode(OrderConfirmed()))
    for name, value in forged.items():
        setattr(its, name, value)
    listener = EventMeaning(hears("OrderConfirmed"), "order", ORDERS)
    for _ in range(2):
        assert [] == listener.hear(its, 8, "/checkout")
    assert len([line for line in caplog.records if "is no event of ours" in line.getMessage()]) <= 1


@pytest.mark.parametrize(
    "forged",
    [
        {"value": b"[" * 50_000 + b"]" * 50_000},
        {"value": b'{"$schema":' + b"[" * 50_000 + b"]" * 50_000 + b"}"},
        {"value": b"\x00\x00\x00\x00\x01body", "headers": [*NAMED, ("ce_dataschema", None)]},
    ],
    ids=lambda forged: str(forged)[:80],
)
def test_what_has_the_place_of_an_event_is_waited_for(forged: dict[str, Any]) -> None:
    """A record with a position of the journal is taken for its event, which another version may be able to read."""
    its = record("OrderConfirmed", CODEC.encode(OrderConfirmed()))
    for name, value in forged.items():
        setattr(its, name, value)
    with pytest.raises(NotReadableYet):
        EventMeaning(hears("OrderConfirmed"), "order", ORDERS).hear(its, 8, "/checkout")


def test_a_record_that_cannot_be_read_is_skipped() -> None:
    """What could not be unpacked is skipped: that was said where it was read."""
    lost = unreadable_record(TopicPartition("order-events", 3), 5, 5, -1, "it is not what zstd makes")
    assert [] == EventMeaning(hears("OrderConfirmed"), "order", ORDERS).hear(lost, 8, "/checkout")


def test_what_it_hears_has_a_schema() -> None:
    """A process manager brings copies of the schemas that it hears; one that is missing is said at the start."""
    with pytest.raises(
        SchemaError, match="OrderWrapped of order, and schemas/shop/order has no schema of it: copy all"
    ):
        EventMeaning(hears("OrderConfirmed", "OrderWrapped"), "order", ORDERS)


def test_a_version_of_tomorrow_is_waited_for() -> None:
    """An event that concerns it, in a version that this code cannot read, is held: no later one overtakes it."""
    tomorrow = Schema.parse(
        '{"type": "record", "name": "OrderConfirmed", "namespace": "shop.order",'
        ' "fields": [{"name": "by", "type": "string"}]}'
    )
    listener = EventMeaning(hears("OrderConfirmed"), "order", ORDERS)
    value = b"\xc3\x01" + bytes.fromhex(tomorrow.fingerprint) + b"\x04me"
    with pytest.raises(NotReadableYet, match="deploy the version that knows it"):
        listener.hear(record("OrderConfirmed", value), 8, "/checkout")


def test_a_bug_in_hear_is_waited_for() -> None:
    """What `hear` raises over an event holds it back: it is neither lost nor overtaken."""

    def bug(happened: ForeignEvent) -> list[Reaction[Any]]:
        raise KeyError("sku")

    listener = EventMeaning(hears("OrderConfirmed", hear=bug), "order", ORDERS)
    with pytest.raises(NotReadableYet, match="KeyError"):
        listener.hear(record("OrderConfirmed", CODEC.encode(OrderConfirmed())), 8, "/checkout")


@pytest.mark.parametrize(
    ("type", "name", "version", "heard"),
    [
        ("order", "OrderRejected", 1, "OrderRejected"),
        ("order", "RevenueWithdrawn", 1, "SaleWithdrawn"),
        ("product", "StockRefused", 2, "StockRefused"),
    ],
)
def test_events_of_then_are_heard_as_those_of_today(type: str, name: str, version: int, heard: str) -> None:
    """A former version, or a former name, reaches `hear` under the name and with the fields of the newest version."""
    found: list[ForeignEvent] = []

    def keep(happened: ForeignEvent) -> list[Reaction[Any]]:
        found.append(happened)
        return []

    manager = replace(checkout, hears={type: (heard,)}, hear=keep)
    EventMeaning(manager, type, ORDERS if type == "order" else PRODUCTS).hear(
        record(name, stored(type, name, version), ce_id=f"{type}-3:17:0", ce_position=f"{type}-3:17:0"), 8, "/checkout"
    )
    sample = samples.read_sample(FOLDER / "shop" / type / f"{name}.v{version}.json")
    assert [ForeignEvent(type, "17", part.type, part.data) for part in sample.reads_as if part.type == heard] == found
    assert found


class Kafka:
    """Takes records whose value has no more than so many bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.records: defaultdict[str, list[ProducerRecord]] = defaultdict(list)

    async def largest(self, topic: str) -> int:
        return self.most + 1_024

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        for sent, (key, value, headers) in enumerate(records):
            if len(value or b"") > self.most:
                assert refuse, "it would wait for ever"
                raise RecordTooLarge(topic, len(value or b""), self.most, sent)
            self.records[topic].append((key, value, headers))
        return len(self.records[topic]) - 1


async def test_what_its_topic_does_not_take_is_a_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    """A command that is too large for its topic keeps nobody waiting: it is a dead letter with the reason, which is
    said once, and all that is heard beside it and behind it is brought on."""

    def hear(happened: ForeignEvent) -> list[Reaction[Any]]:
        large = happened.id in ("1", "3")
        return [Reaction(happened.id, Note("x" * (5_000 if large else 10))), Reaction("beside", Note(happened.id))]

    kafka: Any = Kafka(4_000)
    manager = hears("OrderConfirmed", hear=hear)
    its = Router(manager, Settings(), group="checkout-hears", source="/checkout", schema_root="shop", broker=kafka)
    tp = TopicPartition("order-events", 3)
    value, places = CODEC.encode(OrderConfirmed()), [f"order-3:{n}:0" for n in range(1, 6)]
    events = [record("OrderConfirmed", value, ce_id=place, ce_position=place) for place in places]
    for n, event in enumerate(events):
        event.key, event.offset = b"%d" % n, n
    assert {tp: 5} == await its._route(Any, {tp: events})  # type: ignore[arg-type]
    sent = [
        msgspec.json.decode(value)["what"] for key, value, _ in kafka.records["checkout-commands"] if key == b"beside"
    ]
    assert list("01234") == sent
    assert {b"0", b"2", b"4", b"beside"} == {key for key, _, _ in kafka.records["checkout-commands"]}
    letters = {key: dict(headers) for key, _, headers in kafka.records["checkout-dead-letters"]}
    assert {b"1", b"3"} == letters.keys()
    assert (b"TooLarge", b"order-3:2:0") == (letters[b"1"]["dl_type"], letters[b"1"]["dl_id"])
    assert b"raise max.message.bytes" in letters[b"1"]["dl_message"]
    assert 2 == len(caplog.records)


def test_what_is_heard_may_be_larger_than_what_is_sent() -> None:
    """The largest order that can be placed starts its checkout, though that is larger as JSON than `COMMAND_BYTES`."""
    placed = order.evolve(order.initial, OrderOpened("1", "sale", "France", datetime.now(UTC)))
    for number in range(1_011):
        placed = order.evolve(placed, LineAdded('"' * 245 + f"{number:06}", "d", 1, Decimal(1)))
    [event] = order.decide(PlaceOrder(), placed)
    settings = Settings(journal_url="memory://")
    assert 261_000 < len(CODEC.encode(event)) < settings.event_bytes_per_command
    listener = EventMeaning(checkout, "order", ORDERS)
    [(_, (key, value, headers))] = listener.hear(record("OrderPlaced", CODEC.encode(event)), 8, "/checkout")
    limits = AggregateType("checkout", checkout, settings, "shop").limits()
    assert settings.command_bytes < Message(0, 0, key, value, headers, 0.0).size <= limits.command_bytes
    assert settings.command_bytes == AggregateType("order", order, settings, "shop").limits().command_bytes
    context = AggregateType("checkout", checkout, settings, "shop")
    command = msgspec.convert(msgspec.json.decode(value or b""), StartCheckout)
    [started] = checkout.decider.decide(replace(command, started_at=datetime.now(UTC)), checkout.decider.initial)
    assert len(context.events.encode(started)) <= limits.event_bytes_per_command
