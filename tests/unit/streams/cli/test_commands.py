"""The command line without servers: what it reads, what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError, UnsupportedCodecError
from aiokafka.structs import ConsumerRecord, TopicPartition
from click.testing import CliRunner
from faust.cli.base import cli
from rich.console import Console

from aggregates.shop.order import LineAdded, OrderOpened, order
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.cli import dead_letters, journal, kafka, main, quarantine
from streams.cli import lag as lag_client
from streams.cli.http import Answer, Door, ask, read
from streams.cli.main import register
from streams.cli.run import CliError, indented, print_table, run, table, type_named
from streams.deciding.messages import AggregateRef, Message, Reply, encode_reply
from streams.deciding.quarantine import QuarantineReason, pack
from streams.journal import event_view
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, Identity, RecordedEvent, SliceHead, Snapshot
from streams.kafka.fetching.batches import unreadable_record
from streams.kafka.topics import TopicError
from streams.settings import Settings
from streams.slices import partition_of
from streams.text import printable
from streams.web.lag import Lag

PARTITIONS = 4
AT = datetime(2026, 11, 23, 9, 30, 0, 123000, UTC)
SLICE = partition_of(b"536365", PARTITIONS)
STREAM = f"order-{SLICE}"


class FakeContext:
    """The context of orders, on a journal in memory that pretends to be elsewhere."""

    def __init__(self, store: MemoryStore, partitions: int = PARTITIONS) -> None:
        schemas = [schema for schema in Schemas.load("shop", "order") if schema.name not in order.commands]
        self.name, self.decider = "orders", order
        self.settings = Settings(partitions=partitions)
        self.events = Codec(schemas, order.events)
        self.store = store

    def journal(self) -> MemoryJournal:
        """All on the same store."""
        return MemoryJournal(self.store)

    def identity(self) -> Identity:
        """As the settings say it."""
        return Identity(context=self.name, namespace="", partitions=self.settings.partitions, cluster="")


@pytest.fixture
async def context() -> FakeContext:
    """An order of two events and a command without one, in two commits."""
    context = FakeContext(MemoryStore())
    journal = context.journal()
    await journal.create()
    opened = context.events.encode(OrderOpened("17850", "sale", None, AT))
    added = context.events.encode(LineAdded("85123A", "HÖLDER", 6, Decimal("2.55")))
    commits = [
        Commit(
            "order@0", 1, 1, "o", "t", {SLICE: SliceHead(0, 1)}, 0, AT,
            (RecordedEvent("536365", 1, "OrderOpened", opened, "c1", "k1"),),
        ),
        Commit(
            "order@0", 2, 1, "o", "t", {SLICE: SliceHead(2, 2)}, 0, AT,
            (
                RecordedEvent("536365", 2, "LineAdded", added, "c2", "k2"),
                RecordedEvent("536365", 2, "", b"2", "c3", "k3"),
                RecordedEvent("536367", 0, "", b"2", "c4", "k4"),
            ),
        ),
    ]  # fmt: skip
    for commit in commits:
        await journal.append(commit)
    await journal.derive(commits)
    return context


def record(**changes: Any) -> ConsumerRecord[Any, Any]:
    """A dead letter."""
    reason = [
        ("dl_type", b"Unreadable"),
        ("dl_message", b"no"),
        ("dl_time", b"1795339800123"),
        ("dl_position", b"t:3:9"),
    ]
    fields: dict[str, Any] = {
        "topic": "order-dead-letters", "partition": 3, "offset": 17, "timestamp": 0, "timestamp_type": 0,
        "key": b"536365", "value": b'{"sku": 1}', "checksum": None,
        "serialized_key_size": 6, "serialized_value_size": 10,
        "headers": [("ce_id", b"c9"), ("ce_type", b"AddLine"), *reason],
    }  # fmt: skip
    return ConsumerRecord(**{**fields, **changes})


def rendered(shown: Any) -> str:
    """A table as text."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(shown)
    return capture.get()


def code_of(call: Callable[[], object]) -> int:
    """The exit code that a call stops with."""
    with pytest.raises(CliError) as stopped:
        call()
    assert "\n" not in str(stopped.value)
    return stopped.value.code


# -- send ----------------------------------------------------------------------------------------------


def test_data_stays_as_typed() -> None:
    """The data of a command goes to Kafka byte by byte, so that no number is changed on the way."""
    assert '{"unit_price": "2.50", "name": "é"}'.encode() == kafka.read_data('{"unit_price": "2.50", "name": "é"}')


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"x"', "3", "{'a': 1}", '{"a": "\udcff"}'])
def test_data_must_be_an_object(text: str) -> None:
    """Data that is not a JSON object is wrong use, known before anything is sent."""
    assert 2 == code_of(lambda: kafka.read_data(text))


@pytest.mark.parametrize("id", ["", "x" * 513, "\udcff"])
def test_ids_that_nobody_takes(id: str) -> None:
    """An id that is empty, too long or not UTF-8 is wrong use."""
    assert 2 == code_of(lambda: kafka.check_id("aggregate id", id))


@pytest.mark.parametrize(("status", "code"), [("accepted", 0), ("rejected", 3), ("failed", 4)])
def test_exit_codes(status: Any, code: int) -> None:
    """The exit code tells what became of the command."""
    assert code == kafka.print_reply(Reply("c1", status, AggregateRef("order", "1", 1)), b"{}")


def test_unknown_type() -> None:
    """A type without topic is wrong use, and the types that there are in the namespace are named."""
    present = ["a_order-commands", "a_user-commands", "a_order-events", "b_cart-commands"]
    with pytest.raises(
        CliError, match=r"no aggregate type ordr.*types on Kafka in the namespace a_: order, user$"
    ) as stopped:
        kafka.require_topic("a_ordr-commands", "ordr", Settings(namespace="a_"), present, ["order"])
    assert 2 == stopped.value.code


def test_known_type_without_topic() -> None:
    """A type of this app whose topic is not there yet is no wrong use: the message says who makes it."""
    with pytest.raises(CliError, match="start a worker of order, or run") as stopped:
        kafka.require_topic("order-commands", "order", Settings(), [], ["order"])
    assert 1 == stopped.value.code


def test_other_namespaces_are_not_types() -> None:
    """Without a namespace, the topics of the namespaces that share the brokers are not taken for types."""
    assert ["order"] == kafka.types_on_kafka("", ["t1_order-commands", "order-commands", "order-commits"])


def test_no_reply() -> None:
    """Without reply the user learns where the command is, that it will be processed, and how to repeat it safely."""
    text = kafka.no_reply("order", "c1", 2.5, SimpleNamespace(topic="order-commands", partition=3, offset=17))
    assert "no reply within 2.5 s" in text
    assert "order-commands-3, offset 17" in text
    assert text.endswith("--id c1")


async def test_reply_of_the_command() -> None:
    """Only the reply to our command is taken; replies to others and what is no reply are passed over."""
    ours = encode_reply(Reply("c1", "accepted", AggregateRef("order", "1", 1)))
    other = encode_reply(Reply("c2", "failed", AggregateRef("order", "1", 1)))

    async def records() -> Any:
        for value in [None, b"\xff", b"{}", other, ours, other]:
            yield SimpleNamespace(value=value)

    reply, raw = await kafka._reply(records(), "c1")
    assert ("accepted", ours) == (reply.status, raw)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KafkaConnectionError("x"), 1, "Kafka at k1:9092, k2:9092: no answer; .*KAFKA_BROKERS"),
        (TimeoutError(), 1, "Kafka at k1:9092, k2:9092: no answer; .*KAFKA_BROKERS"),
        (OSError("no route"), 1, "Kafka at k1:9092, k2:9092: no route; .*KAFKA_BROKERS"),
        (UnsupportedCodecError("lz4 not found"), 1, "k2:9092: UnsupportedCodecError: lz4 not found$"),
        (TopicAuthorizationFailedError("t"), 1, r"k2:9092: TopicAuthorizationFailedError: \[Error 29\] .*t$"),
        (TopicError("topic x has 3 partitions"), 2, "topic x has 3 partitions"),
    ],
)
async def test_errors_of_kafka(error: Exception, code: int, words: str) -> None:
    """What goes wrong with Kafka becomes one line with the brokers' addresses and the setting to look at."""
    with pytest.raises(CliError, match=words) as stopped:
        async with kafka.kafka(Settings(kafka_brokers="kafka://k1:9092;kafka://k2:9092")):
            raise error
    assert code == stopped.value.code


# -- show and history ------------------------------------------------------------------------------------


async def test_show(context: FakeContext) -> None:
    """The state comes from all events, with decimals as strings; commands without event leave it as it is."""
    shown = await journal.state_at(context, "536365", None)  # type: ignore[arg-type]
    assert ("order", "536365", 2, "open") == (shown["type"], shown["id"], shown["sequence"], shown["state"]["status"])
    [line] = shown["state"]["lines"].values()
    assert {"sku": "85123A", "description": "HÖLDER", "quantity": 6, "unit_price": "2.5500"} == line
    json.dumps(shown)


@pytest.mark.parametrize(("at", "sequence", "lines"), [(1, 1, 0), (2, 2, 1), (99, 2, 1)])
async def test_show_at(context: FakeContext, at: int, sequence: int, lines: int) -> None:
    """`--at N` is the state after event N, or after the last one when there are fewer."""
    shown = await journal.state_at(context, "536365", at)  # type: ignore[arg-type]
    assert (sequence, lines) == (shown["sequence"], len(shown["state"]["lines"]))


@pytest.mark.parametrize("id", ["nope", "536367"])
async def test_show_nothing(context: FakeContext, id: str) -> None:
    """There is no aggregate without an event."""
    with pytest.raises(CliError, match=f"no order {id}") as stopped:
        await journal.state_at(context, id, None)  # type: ignore[arg-type]
    assert 1 == stopped.value.code


async def test_history(context: FakeContext) -> None:
    """The history has each event with its place in the journal, the command that caused it, and its data."""
    first, second = await journal.history_of(context, "536365")  # type: ignore[arg-type]
    assert {
        "sequence": 2, "time": "2026-11-23T09:30:00.123Z", "type": "LineAdded", "position": f"{STREAM}:2:0",
        "command_id": "c2", "correlation_id": "k2",
        "schema": "shop.order.LineAdded:1",
        "data": {"sku": "85123A", "description": "HÖLDER", "quantity": 6, "unit_price": "2.5500"},
    } == second  # fmt: skip
    assert (1, f"{STREAM}:1:0") == (first["sequence"], first["position"])


async def test_a_journal_of_another_namespace(context: FakeContext) -> None:
    """The command line refuses a journal that is another system's in one line, as workers do."""
    await context.journal().claim(Identity(context="orders", namespace="demo-", partitions=PARTITIONS, cluster="c"))
    with pytest.raises(CliError, match="belongs to NAMESPACE='demo-', and here is NAMESPACE=''") as stopped:
        await journal.history_of(context, "536365")  # type: ignore[arg-type]
    assert 2 == stopped.value.code


async def test_unreadable_event(context: FakeContext) -> None:
    """An event that cannot be read says so in its place; the others are shown."""
    stored = list(await context.journal().events("order", "536365"))[:2]
    codec = Codec([schema for schema in Schemas.load("shop", "order") if schema.name == "LineAdded"], {})
    first, second = event_view.entries(codec, STREAM, stored)
    assert {"unreadable"} == first["data"].keys()
    assert 6 == second["data"]["quantity"]


async def test_missing_journal() -> None:
    """Tables that do not exist are for the user to make, and the message says how."""
    with pytest.raises(CliError, match="run `faust -A <app> setup`") as stopped:
        await journal.state_at(FakeContext(MemoryStore()), "1", None)  # type: ignore[arg-type]
    assert 2 == stopped.value.code


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("streams.shop.orders", "this app has order; `faust -A projections.shop.app` has all types"),
        ("projections.shop.app", "this app has order$"),
        ("myapp", "this app has order$"),
    ],
)
def test_type_of_another_app(module: str, words: str) -> None:
    """A type that this app has not is wrong use, and the app that has it is named."""
    with pytest.raises(CliError, match=words) as stopped:
        type_named({"order": None}, "product", module)  # type: ignore[dict-item]
    assert 2 == stopped.value.code


# -- lag -------------------------------------------------------------------------------------------------


def test_lag_rows() -> None:
    """Streams are in the order of their partition numbers, and the total stands below."""
    row = {"committed_offset": None, "head": 7, "eventful": 7, "published": 4, "applied": 4, "lag": 3}
    row |= {"ahead": 0, "events": 5, "seconds": 1.25, "epoch": 1, "owner": "a", "unpublished_events": 0}
    table = {"table": "orders-1", "serving": True, "applied": 4, "commits": 3, "events": 5, "seconds": 1.25}
    row["projections"] = [table]
    body = json.dumps({"streams": [{"stream": "order-10", **row}, {"stream": "order-2", **row}], "total": 6}).encode()
    lag = read(Answer("u", 200, body), Lag, "the /lag of the projections")
    rows = lag_client.rows(lag)
    told = [None, 7, 7, 4, 4, 3, 5, "1.2", 0]
    assert [["order-2", *told], ["order-10", *told]] == rows[:2]
    assert ("total", 6) == (rows[2][0], rows[2][lag_client.COLUMNS.index("lag")])
    assert ["order-10", "orders-1", True, 4, 3, 5, "1.2"] == lag_client.table_rows(lag)[0]


@pytest.mark.parametrize(
    ("status", "body"), [(503, b'{"detail": "no"}'), (404, b"\xff"), (200, b"<html>"), (200, b"{}"), (200, b"\xff")]
)
def test_other_answers_to_lag(status: int, body: bytes) -> None:
    """Whatever else answers ends with 2, because 1 means that the tables are behind."""
    assert 2 == code_of(lambda: read(Answer("http://x/lag", status, body), Lag, "the /lag of the projections"))


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://127.0.0.1:1", "http://[::/"])
def test_lag_without_answer(url: str) -> None:
    """A URL that is none, or where nobody answers, ends with 2."""
    assert 2 == code_of(lambda: asyncio.run(ask(url, "/lag", "is it up?")))


# -- dead letters ------------------------------------------------------------------------------------------


def test_position() -> None:
    """A dead letter is named by partition and offset."""
    assert (3, 17) == dead_letters.parse_position("3:17", "show")


@pytest.mark.parametrize("text", [None, "", "3", "3:", ":3", "-1:3", "3:x", "3:1:1", "٣:1"])
def test_not_a_position(text: str | None) -> None:
    """Anything else is wrong use."""
    assert 2 == code_of(lambda: dead_letters.parse_position(text, "retry"))


def test_retried_headers() -> None:
    """A command is sent again with its own headers, in order, repeated ones too, without the failure's."""
    headers = [("ce_id", b"1"), ("dl_type", b"x"), ("a", b"1"), ("a", b"2"), ("dl_other", b"y"), ("dl_time", b"")]
    assert [("ce_id", b"1"), ("a", b"1"), ("a", b"2"), ("dl_other", b"y")] == dead_letters.original_headers(headers)


def test_dead_letter_summary() -> None:
    """The list shows where, when, whose, which command and why."""
    expected = ("3:17", "2026-11-22T09:30:00+00:00", "536365", "AddLine", "Unreadable", "no")
    assert expected == dead_letters.summary(record())


@pytest.mark.parametrize(
    ("value", "type"), [(b'{"type": "AddLine"}', "AddLine"), (b"{}", ""), (b"\xff", ""), (None, ""), (b"[1]", "")]
)
def test_dead_letter_without_headers(value: bytes | None, type: str) -> None:
    """A message with nothing in it that we know is listed all the same; a structured one shows its type."""
    assert ("3:17", "", "", type, "", "") == dead_letters.summary(record(headers=[], key=None, value=value))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(b'{"a": 1}', {"a": 1}), (b"hello", "hello"), (b"\xc3\x01", {"base64": "wwE="}), (None, None)],
)
def test_dead_letter_details(value: bytes | None, shown: object) -> None:
    """The details show JSON as JSON, text as text and other bytes in base64."""
    details = dead_letters.letter_details(record(value=value))
    assert ("3:17", "536365", shown) == (details["position"], details["key"], details["value"])
    assert {"ce_id": "c9", "ce_type": "AddLine"} == details["headers"]
    assert ("Unreadable", "t:3:9") == (details["failure"]["type"], details["failure"]["position"])


def test_a_signature_is_not_shown() -> None:
    """Whoever looks at a dead letter does not get what its command was signed with."""
    signature = [("ce_principal", b"oidc:alice"), ("ce_proof", b"k1:secret")]
    shown = dead_letters.letter_details(record(headers=[("ce_id", b"c9"), *signature, ("dl_type", b"Raised")]))
    assert {"ce_id": "c9", "ce_principal": "oidc:alice"} == shown["headers"]


# -- printing and ending -----------------------------------------------------------------------------------


def test_retry_headers() -> None:
    """A retry has the command's own headers, its id if it brought none, and the mark if an aggregate waits for it."""
    plain = record(headers=[("ce_id", b"c9"), ("dl_type", b"x"), ("dl_id", b"c9")])
    assert [("ce_id", b"c9")] == dead_letters.retry_headers(plain)
    typed = record(headers=[("ce_retryof", b"3:1"), ("dl_id", b"t/3/9"), ("dl_quarantine", b"1"), ("dl_trace", b"..")])
    assert [("ce_id", b"t/3/9"), ("ce_retryof", b"3:17")] == dead_letters.retry_headers(typed)


def test_trace_is_shown_by_line() -> None:
    """`show` has the trace line by line, and says that the aggregate is in quarantine; `list` says so too."""
    raised = record(
        headers=[("dl_type", b"DomainError"), ("dl_trace", b"Traceback\n  here\n"), ("dl_quarantine", b"1")]
    )
    failure = dead_letters.letter_details(raised)["failure"]
    assert (["Traceback", "  here"], True) == (failure["trace"], failure["quarantine"])
    assert "DomainError, quarantine" == dead_letters.summary(raised)[4]


def test_dropped_dead_letters() -> None:
    """A marker takes the dead letter at that offset of its partition off the list, and is none itself."""
    letters = [record(), record(partition=2), record(offset=18)]
    marker = record(offset=19, value=None, headers=[("dl_dropped", b"17"), ("dl_time", b"1")])
    assert letters[1:] == dead_letters.not_dropped([*letters, marker])


HOSTILE = [
    {"value": b"[" * 5_000 + b"]" * 5_000},
    {"value": b"[" * 960 + b"]" * 960},
    {"value": b'{"type":' + b"[" * 900 + b"]" * 900 + b"}", "headers": []},
    {"headers": [("dl_dropped", b"x")]},
    {"headers": [("dl_dropped", "٣".encode())], "value": None},
    {"headers": [("dl_dropped", b"1" * 5_000)], "value": None},
    {"headers": [("dl_type", None), ("dl_time", b"9" * 14), ("ce_type", None)]},
    {"headers": [("dl_type", b"\xff"), ("dl_time", "٣".encode() * 5), ("dl_topic", b"\xff")]},
    {"headers": [("dl_quarantine", b"1")], "key": b"\xff"},
    {"headers": [("\\xff", b"\xff")], "key": None, "value": None},
]


@pytest.mark.parametrize("changes", HOSTILE)
def test_every_listing_survives_every_record(changes: dict[str, Any]) -> None:
    """Whatever stands on the topic is listed, shown and could be sent again; one of them hides no other."""
    hostile = record(**changes)
    letters = dead_letters.not_dropped([record(offset=1), hostile, record(offset=18)])
    assert [1, 17, 18] == [letter.offset for letter in letters]
    assert "3:17" == dead_letters.summary(hostile)[0]
    assert indented(dead_letters.letter_details(hostile))
    assert dead_letters.retry_headers(hostile) is not None


def test_a_letter_that_could_not_be_read() -> None:
    """What stands on the topic and cannot be read is listed with the reason."""
    lost = unreadable_record(TopicPartition("order-dead-letters", 3), 17, 17, -1, "its checksum is wrong")
    assert [lost] == dead_letters.not_dropped([lost])
    assert ("3:17", "", "", "", "Unreadable", "its checksum is wrong") == dead_letters.summary(lost)


def test_control_headers_of_a_stranger() -> None:
    """What a sender wrote into control headers counts for nothing, in letters that are kept from before as well."""
    strange = [("dl_topic", b"projections-control"), ("dl_dropped", b"5"), ("dl_quarantine", b"1"), ("dl_cut", b"9")]
    letter = record(headers=[*strange, ("dl_type", b"Unreadable"), ("dl_id", b"c9"), ("dl_position", b"t:3:9")])
    assert [letter] == dead_letters.not_dropped([letter])
    assert "Unreadable" == dead_letters.summary(letter)[4]
    assert [("ce_id", b"c9")] == dead_letters.retry_headers(letter)
    assert "order-commands" == dead_letters.retry_topic(letter, "", "order-commands")


@pytest.mark.parametrize(
    ("topic", "type", "goes_to"),
    [
        (b"a.email-commands", b"UnknownType", "a.email-commands"),
        (b"a.email-commands", b"Unreadable", "a.order-commands"),
        (b"b.email-commands", b"UnknownType", "a.order-commands"),
        (b"a.projections-control", b"UnknownType", "a.order-commands"),
        (b"a.\xff-commands", b"UnknownType", "a.order-commands"),
    ],
)
def test_where_a_letter_is_sent_again(topic: bytes, type: bytes, goes_to: str) -> None:
    """Where it was read, unless one of our own senders knew no such topic: then to that, if it is one of commands."""
    letter = record(headers=[("dl_type", type), ("dl_topic", topic)])
    assert goes_to == dead_letters.retry_topic(letter, "a.", "a.order-commands")


async def test_quarantine_of_an_aggregate(context: FakeContext) -> None:
    """The quarantine of an aggregate is read from its notes, after its snapshot, and shown with all that wait."""
    journal = context.journal()
    reason = msgspec.json.encode(QuarantineReason("DomainError", "Bug: no", AT, 9))
    message = Message(SLICE, 10, b"536365", b'{"sku": 1}', [("ce_type", b"AddLine")], AT.timestamp())
    notes = (
        RecordedEvent("536365", 2, "#quarantined", reason, "c9"),
        RecordedEvent("536365", 2, "#parked", pack(message), "c10"),
    )
    assert await quarantine.quarantine_of(journal, "order", "536365") is None
    commit = Commit("order@0", 3, 1, "o", "t", {SLICE: SliceHead(10, 2)}, 0, AT, notes)
    await journal.append(commit)
    await journal.derive([commit])
    await journal.save_snapshots("order", [Snapshot("536365", 2, 2, 1, b"")])
    found = await quarantine.quarantine_of(journal, "order", "536365")
    assert found is not None
    shown = quarantine.quarantine_details("536365", found, "3:17")
    assert ("c9", "3:17", "2026-11-23T09:30:00Z") == (shown["command_id"], shown["dead_letter"], shown["since"])
    assert {
        "command_id": "c10", "type": "AddLine", "offset": 10, "sent": "2026-11-23T09:30:00Z", "value": {"sku": 1},
    } == shown["waiting"][0]  # fmt: skip
    row = dict(zip(quarantine.COLUMNS, quarantine.row("536365", found, "3:17"), strict=True))
    assert (1, "DomainError: Bug: no") == (row["waiting"], row["failure"])
    await journal.save_snapshots("order", [Snapshot("536365", 2, 3, 1, b"")])
    assert await quarantine.quarantine_of(journal, "order", "536365") is None


def test_nothing_steers_the_terminal() -> None:
    """Control characters of what others have sent are shown, not obeyed."""
    assert "a\\x1b[31mé\\n\\u202e" == printable("a\x1b[31mé\n\u202e")


def test_table_takes_text_as_it_is() -> None:
    """Square brackets are no markup, and a missing value is a dash."""
    assert ["a", "n", "[red]x", "-"] == rendered(table(["a", "n"], [["[red]x", None]], ["n"])).split()


def test_table_in_a_pipe_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """In a file or pipe each row is one line, however long, and nothing is cut off."""
    cells = ["a" * 200, "b " * 400 + "end"]
    print_table(["x", "y"], [cells])
    assert ["x" + " " * 201 + "y", "  ".join(cells)] == capsys.readouterr().out.splitlines()


def test_run_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that stops prints its reason on stderr, nothing on stdout, and ends with its code."""

    async def stops() -> None:
        raise CliError(3, "no such thing")

    async def ends(code: int | None) -> int | None:
        return code

    assert 3 == run(stops())
    assert ("", "Error: no such thing\n") == capsys.readouterr()
    assert [0, 0, 4] == [run(ends(code)) for code in (None, 0, 4)]


class FakeApp:
    """Keeps what is registered."""

    module = "streams.shop.orders"

    def __init__(self) -> None:
        self.classes: dict[str, Any] = {}

    def command(self, *options: Any, base: Any) -> Callable[[Any], Any]:
        """Like Faust's."""

        def decorate(function: Any) -> Any:
            self.classes[function.__name__] = base.from_handler(*options)(function)
            return self.classes[function.__name__]

        return decorate


@pytest.mark.parametrize(
    ("url", "insecure", "goes"),
    [
        ("http://10.0.0.5:6066", False, False),
        ("http://shop-1:6066", False, False),
        ("http://127.example.org:6066", False, False),
        ("http://shop-1:6066", True, True),
        ("https://shop-1:6066", False, True),
        ("http://127.0.0.1:6066", False, True),
        ("http://localhost:6066", False, True),
        ("http://[::1]:6066", False, True),
    ],
)
def test_a_token_in_the_clear(url: str, insecure: bool, goes: bool, tmp_path: Any) -> None:
    """It goes over http to this machine alone, unless that was said to be right."""
    file = tmp_path / "token"
    file.write_text("sst_canary")
    door = Door(url, Settings(http_token_file=str(file), http_insecure=insecure))
    if goes:
        assert "Bearer sst_canary" == door.headers["Authorization"]
        return
    with pytest.raises(CliError, match="in the clear") as stopped:
        _ = door.headers
    assert (2, False) == (stopped.value.code, "canary" in str(stopped.value))


def test_a_release_is_not_sent() -> None:
    """It is an order, and is to be in the audit: `send` takes none."""
    sent = main.send.function(SimpleNamespace(), "order", "1", "#release", "{}", None, 1.0)
    with pytest.raises(CliError, match="quarantine release order 1") as stopped:
        asyncio.run(sent)
    assert 2 == stopped.value.code


COMMANDS = ["send", "show", "history", "lag", "setup", "dead-letters", "quarantine", "token", "audit"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The help of each command has an example that can be typed, and its exit codes."""
    monkeypatch.setattr(cli, "commands", dict(cli.commands))
    register(FakeApp(), {"order": FakeContext(MemoryStore())})  # type: ignore[dict-item]
    text = CliRunner().invoke(cli.commands[name], ["--help"]).output
    assert f" {name}" in text.partition("faust -A ")[2].partition("\n")[0]
    assert "Exit code" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "order", "1"],
        ["send", "order", "1", "X", "{}", "--wait", "-1"],
        ["show", "order", "1", "--at", "0"],
        ["dead-letters", "burn", "order", "0:1"],
        ["dead-letters", "list", "order", "--limit", "0"],
        ["lag", "more"],
        ["quarantine", "lift", "order", "1"],
    ],
    ids=" ".join,
)
def test_wrong_use(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, superfluous and impossible arguments end with 2 before anything is done."""
    monkeypatch.setattr(cli, "commands", dict(cli.commands))
    register(FakeApp(), {"order": FakeContext(MemoryStore())})  # type: ignore[dict-item]
    result = CliRunner().invoke(cli.commands[arguments[0]], list(arguments[1:]))
    assert 2 == result.exit_code, result.output
