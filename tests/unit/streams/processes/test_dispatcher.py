"""The commands that a process manager's events cause: with the derived rows, again after a crash, and the same ones."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from aggregates.principal import Principal, process
from aggregates.process_manager import Send
from aggregates.shop.order import OrderConfirmed, OrderShipped, order
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.concurrency.tasks import cancel
from streams.deciding.messages import JSON, RETRY_TOPIC, Failure, Message, read_envelope
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, RecordedEvent, SliceHead, Unavailable
from streams.kafka.client import ProducerRecord
from streams.kafka.topic_metadata import TopicMetadata
from streams.ownership.derivation import Derivation
from streams.principals.key_ring import ContextKeys, KeyRing, encode_keys
from streams.principals.signature import Signed, derived, verified
from streams.processes.dispatcher import CommandDispatcher
from streams.processes.process_signature import ProcessSignature
from streams.security.refusals import TopicForbidden
from streams.slices import partition_of

CODEC = Codec([s for s in Schemas.load("shop", "order") if s.name not in order.commands], order.events)
SLICES = 8
SLICE = partition_of(b"p", SLICES)
TOPICS = {"ns_product-commands": 4, "ns_timer-commands": 2}


def sends(process: str, event: Any) -> list[Send]:
    match event:
        case OrderConfirmed():
            return [
                Send("product", f"{process}-a", "Restock", {"quantity": 1}),
                Send("timer", process, "CancelTimer", command_id="promised"),
            ]
        case _:
            return [Send("nobody", process, "Wave")]


class Kafka:
    """What an issuer uses of a broker: topics that there are, and what was published to each."""

    def __init__(self) -> None:
        self.records: defaultdict[tuple[str, int], list[ProducerRecord]] = defaultdict(list)
        self.leaderless: set[str] = set()
        self.forbidden: set[str] = set()

    async def existing(self, topics: Iterable[str]) -> dict[str, TopicMetadata | None]:
        if self.forbidden & {*topics}:
            raise TopicForbidden(self.forbidden)
        found = {name: TopicMetadata("id", TOPICS[name]) for name in topics if name in TOPICS}
        return {name: None if name in self.leaderless else topic for name, topic in found.items()}

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        self.records[topic, partition] += records
        return len(self.records[topic, partition]) - 1


def commit(nr: int, *events: object) -> Commit:
    """Of one process, `p`."""
    rows = [
        RecordedEvent("p", number, type(event).__name__, CODEC.encode(event), "heard", "placing", "00-a-b-01")
        for number, event in enumerate(events, 1)
    ]
    note = RecordedEvent("p", len(rows), "", b"0", "repeated")
    return Commit("order@1", nr, 1, "me", "t", {SLICE: SliceHead(nr, nr)}, 0, datetime.now(UTC), (note, *rows))


ROW = commit(1, OrderConfirmed()).events[-1]


def issuer(journal: MemoryJournal, kafka: Kafka, sends: Any = sends, keys: KeyRing | None = None) -> CommandDispatcher:
    return CommandDispatcher(
        sends=sends,
        codec=CODEC,
        journal=journal,
        broker=kafka,  # type: ignore[arg-type]
        namespace="ns_",
        source="/ns_orders",
        slices=SLICES,
        dead_letters_topic="ns_order-dead-letters",
        signature=ProcessSignature("order", keys),
    )


async def test_commands_are_sent_where_they_belong() -> None:
    """To the partition of their key, with ids made of the event's, in its trace; a promised id is kept."""
    kafka = Kafka()
    await issuer(MemoryJournal(), kafka).dispatch([commit(7, OrderConfirmed())])
    place = "ns_product-commands", partition_of(b"p-a", 4)
    [(key, value, headers)] = kafka.records.pop(place)
    assert (b"p-a", {"quantity": 1}) == (key, msgspec.json.decode(value or b""))
    assert {
        "ce_specversion": b"1.0",
        "ce_id": b"order-2:7:1#0",
        "ce_type": b"Restock",
        "ce_source": b"/ns_orders",
        "ce_correlationid": b"placing",
        "ce_causationid": b"order-2:7:1",
        "ce_traceparent": b"00-a-b-01",
        "content-type": b"application/json",
    } == dict(headers)
    [((topic, _), [(key, _, headers)])] = kafka.records.items()
    assert ("ns_timer-commands", b"p", b"promised") == (topic, key, dict(headers)["ce_id"])


async def test_commands_are_the_process_managers_own() -> None:
    """They come in its name, on behalf of who has caused the event; without a key for their type they are nobody's."""
    kafka, keys, products = Kafka(), KeyRing(), b"p" * 32
    signs = ContextKeys({"order": "00" * 32}, {"order": {"product": derived(products, "process:order").hex()}})
    keys.take(SimpleNamespace(key=b"k1", value=encode_keys(signs)))
    caused = commit(7, OrderConfirmed())
    rows = tuple(replace(row, principal="oidc:alice") for row in caused.events)
    await issuer(MemoryJournal(), kafka, keys=keys).dispatch([replace(caused, events=rows)])
    [(key, value, headers)] = kafka.records.pop(("ns_product-commands", partition_of(b"p-a", 4)))
    said = dict(headers)
    message = Message(0, 0, key, value, headers, 1.0)
    signed = Signed("product", "p-a", said["ce_id"].decode(), said["ce_type"].decode(), value or b"", JSON)
    theirs = KeyRing()
    theirs.take(SimpleNamespace(key=b"k1", value=encode_keys(ContextKeys({"product": products.hex()}))))
    assert process("order", Principal("oidc", "alice")) == verified(
        read_envelope(message, "").said or {}, signed, theirs
    )
    others = [headers for records in kafka.records.values() for _, _, headers in records]
    assert others
    assert not any("ce_principal" in dict(headers) for headers in others)


async def test_a_command_to_nobody_is_kept() -> None:
    """A type without a topic: the command is a dead letter that says why, and where to send it again."""
    kafka = Kafka()
    await issuer(MemoryJournal(), kafka).dispatch([commit(1, OrderShipped())])
    [((topic, _), [(_, _, headers)])] = kafka.records.items()
    assert "ns_order-dead-letters" == topic
    assert (b"UnknownType", b"Wave") == (dict(headers)["dl_type"], dict(headers)["ce_type"])
    assert b"ns_nobody-commands" == dict(headers)[RETRY_TOPIC]


async def test_a_topic_without_a_leader_is_waited_for() -> None:
    """While a broker starts, a topic is there and has no leader: its commands are no dead letters, they wait."""
    kafka = Kafka()
    kafka.leaderless.add("ns_product-commands")
    its = issuer(MemoryJournal(), kafka)
    with pytest.raises(Unavailable, match="ns_product-commands is there, and not ready yet"):
        await its.dispatch([commit(1, OrderConfirmed())])
    assert {} == kafka.records
    kafka.leaderless.clear()
    await its.dispatch([commit(1, OrderConfirmed())])
    assert {"ns_product-commands", "ns_timer-commands"} == {topic for topic, _ in kafka.records}


async def test_a_topic_that_may_not_be_looked_at_is_waited_for() -> None:
    """Whether there is one is not known: its commands are no dead letters, they wait until the right is granted."""
    kafka = Kafka()
    kafka.forbidden.add("ns_product-commands")
    its = issuer(MemoryJournal(), kafka)
    with pytest.raises(Unavailable, match="may not look at it"):
        await its.dispatch([commit(1, OrderConfirmed())])
    assert {} == kafka.records
    kafka.forbidden.clear()
    await its.dispatch([commit(1, OrderConfirmed())])
    assert {"ns_product-commands", "ns_timer-commands"} == {topic for topic, _ in kafka.records}


async def test_a_bug_over_what_other_code_wrote_is_waited_for() -> None:
    """`sends` raises over an event that it was never tried on: nothing is left out; it waits for code that can say."""

    def bug(process: str, event: Any) -> list[Send]:
        raise KeyError("sku")

    its = issuer(MemoryJournal(), Kafka(), bug)
    with pytest.raises(Unavailable, match="order-2:1:1, what OrderConfirmed causes: KeyError"):
        await its.dispatch([commit(1, OrderConfirmed())])


@pytest.mark.parametrize("is_transactional", [False, True])
async def test_a_commit_counts_as_indexed_when_its_commands_are_sent(is_transactional: bool) -> None:
    """While they cannot be, it is not; when they can, in the order of the log. So it is where appends derive, too."""
    journal = MemoryJournal()
    journal.is_transactional = is_transactional
    sent: list[int] = []
    answers = False

    async def issue(commits: Sequence[Commit]) -> None:
        if not answers:
            raise Unavailable("Kafka is down")
        sent.extend(commit.nr for commit in commits)

    indexer = Derivation("order@1", "order", journal, issue)
    running = asyncio.create_task(indexer.run())
    await indexer.put(commit(1, OrderConfirmed()), [])
    await indexer.put(commit(2, OrderConfirmed()), [])
    await asyncio.sleep(0.05)
    assert 0 == indexer.derived_nr
    answers = True
    async with asyncio.timeout(5):
        while indexer.derived_nr < 2:
            await asyncio.sleep(0.01)
    await indexer.finish(1)
    await cancel(running)
    assert [1, 2] == sent


async def test_the_next_owner_sends_what_may_be_missing() -> None:
    """It issues again from the commit up to which the head says that all is derived; the ids are the same."""
    journal, kafka = MemoryJournal(), Kafka()
    log = [commit(nr, OrderConfirmed()) for nr in (1, 2, 3)]
    head = msgspec.structs.replace(commit(4), derived_nr=1)
    for it in [*log, head]:
        await journal.append(it)
    indexer = Derivation("order@1", "order", journal, issuer(journal, kafka).dispatch)
    for _ in range(2):
        await indexer.repair(head)
    ids = [dict(headers)["ce_id"] for _, _, headers in kafka.records["ns_product-commands", partition_of(b"p-a", 4)]]
    assert [b"order-2:2:1#0", b"order-2:3:1#0"] * 2 == ids
    assert 4 == indexer.derived_nr


@pytest.mark.parametrize("data", [{"price": object()}, {"id": "\ud800"}])
async def test_what_cannot_be_sent_is_refused_before_it_is_written(data: dict[str, Any]) -> None:
    """`check` makes the commands on trial: what raises there is a bug of the domain, and nothing was written yet."""
    bad = issuer(MemoryJournal(), Kafka(), lambda process, event: [Send("product", "p", "Restock", data)])
    with pytest.raises((TypeError, UnicodeEncodeError)):
        bad.check(ROW, OrderConfirmed())
    issuer(MemoryJournal(), Kafka()).check(ROW, OrderConfirmed())


@pytest.mark.parametrize(("character", "taken"), [("a", 990_000), ("\x01", 160_000)])
async def test_what_no_topic_takes_is_refused_before_it_is_written(character: str, taken: int) -> None:
    """What an event causes may be six times as large as JSON: beyond what a topic takes it is the command's failure."""

    def large(process: str, event: Any) -> list[Send]:
        return [Send("product", process, "Describe", {"text": character * size})]

    its = issuer(MemoryJournal(), Kafka(), large)
    size = taken
    its.check(ROW, OrderConfirmed())
    size = taken + 10_000
    with pytest.raises(Failure, match=r"OrderConfirmed causes Describe to product, which has 10.* more than 1000000"):
        its.check(ROW, OrderConfirmed())


async def test_decimals_are_strings() -> None:
    """Money in what is sent is a string, as everywhere in JSON."""
    kafka = Kafka()
    its = issuer(
        MemoryJournal(),
        kafka,
        lambda process, event: [Send("product", process, "ChangePrice", {"price": Decimal("2.50")})],
    )
    await its.dispatch([commit(1, OrderConfirmed())])
    [[(_, value, _)]] = kafka.records.values()
    assert b'{"price":"2.50"}' == value
