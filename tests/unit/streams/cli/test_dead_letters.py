"""`faust dead-letters`: what it lists and shows of whatever stands on the topic, and what it sends again."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.cli import dead_letters
from streams.cli.run import indented
from streams.kafka.fetching.batches import unreadable_record
from tests.unit.streams.cli.orders_context import code_of


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
