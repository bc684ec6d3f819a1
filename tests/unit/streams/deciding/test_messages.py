"""Commands as they stand on Kafka."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.deciding.messages import Envelope, Failure, Message, check_deadline, command_headers, read_envelope
from streams.security.reply_topics import ANYWHERE, ReplyTopics
from streams.settings import Settings


def read(value: bytes | None, headers: Any = (), key: bytes | None = b"536365") -> Envelope:
    return read_envelope(Message(3, 7, key, value, headers, 1_700_000_000.5), "default-id")


def test_binary_mode() -> None:
    """A CloudEvent in binary mode has its attributes in headers and its data as the value."""
    headers = [*command_headers("c1", "AddLine", "/test", "replies", "corr"), ("ce_deadline", b"2030-01-01T00:00:00Z")]
    envelope = read(b'{"sku":"A"}', headers)
    assert ("c1", "AddLine", "536365", b'{"sku":"A"}') == (
        envelope.id,
        envelope.type,
        envelope.aggregate_id,
        envelope.data,
    )
    assert ("replies", "corr", "application/json") == (
        envelope.reply_to,
        envelope.correlation_id,
        envelope.content_type,
    )
    assert datetime.fromtimestamp(1_700_000_000.5, UTC) == envelope.time


def test_structured_mode() -> None:
    """A JSON object with type and data is enough, as a person types it; the id is then the message's place."""
    envelope = read(b'{"type":"PlaceOrder"}')
    assert ("default-id", "PlaceOrder", b"{}") == (envelope.id, envelope.type, envelope.data)
    envelope = read(b'{"specversion":"1.0","id":"c2","type":"AddLine","replyto":"r","data":{"sku":"A"}}')
    assert ("c2", "r", b'{"sku":"A"}') == (envelope.id, envelope.reply_to, envelope.data)


def test_the_key_of_the_reply() -> None:
    """It may be named, in both modes; a header that names two is refused, and so is one that is too long for an id."""
    headers = command_headers("c1", "AddLine", "/test", "replies", "corr", reply_key="c1")
    assert "c1" == read(b"{}", headers).reply_key
    assert "k" == read(b'{"type":"AddLine","replyto":"r","replykey":"k"}').reply_key
    for bad in ([*headers, ("ce_replykey", b"c2")], [("ce_type", b"AddLine"), ("ce_replykey", b"x" * 513)]):
        with pytest.raises(Failure, match="replykey"):
            read(b"{}", bad)


@pytest.mark.parametrize(
    ("value", "headers", "key"),
    [
        (b"not json", (), b"1"),
        (None, (), b"1"),
        (None, (("ce_type", b"PlaceOrder"),), b"1"),
        (b"{}", (), b"1"),
        (b'{"type":""}', (), b"1"),
        (b'{"type":"PlaceOrder"}', (), None),
        (b'{"type":"PlaceOrder"}', (), b"\xff"),
        (b'{"type":"PlaceOrder"}', (), b"x" * 513),
        (b"{}", (("ce_type", b"\xff"),), b"1"),
        (b"{}", (("ce_type", b"PlaceOrder"), ("ce_id", b"x" * 600)), b"1"),
    ],
)
def test_unreadable(value: bytes | None, headers: Any, key: bytes | None) -> None:
    """What cannot be read is a failure that says why, and knows the id and the reply topic if they can be read."""
    with pytest.raises(Failure) as caught:
        read(value, [*headers, ("ce_replyto", b"replies")], key)
    assert "Unreadable" == caught.value.type
    assert "replies" == caught.value.envelope.reply_to


DEEP = b"[" * 50_000 + b"]" * 50_000
"""Deeper than any Python reads: 3.11 takes some 1,000 levels, 3.13 10,000."""


@pytest.mark.parametrize(
    ("value", "headers", "says"),
    [
        (b'{"type":"PlaceOrder","data":' + DEEP + b"}", (), "nested too deeply"),
        (b'{"type":"PlaceOrder","x":' + DEEP + b"}", (), "nested too deeply"),
        (b'{"type":"\xff"}', (), "neither a CloudEvent"),
        (b'{"type":"' + b"T" * 300 + b'"}', (), "the type is longer than 256"),
        (b"{}", (("ce_type", b"T" * 300),), "the type is longer than 256"),
        (b"{}", (("ce_type", b""),), "no type"),
        (b"{}", (("ce_type", None),), "no type"),
        (b"{}", (("ce_type", b"A"), ("ce_type", b"B")), "the header ce_type comes twice"),
        (b"{}", (("ce_type", b"A"), ("ce_id", b"1"), ("ce_id", b"2")), "the header ce_id comes twice"),
        (b"{}", (("ce_type", b"A"), ("ce_deadline", b"2" * 65)), "the deadline is longer than 64"),
        (b"{}", (("ce_type", b"A"), ("content-type", b"c" * 300)), "the content-type is longer than 256"),
        (None, (), "no value"),
        (b'{"type":"PlaceOrder","data_base64":"e30=","data":{}}', (), "both data and data_base64"),
        (b'{"type":"PlaceOrder","data_base64":"e3"}', (), "data_base64"),
    ],
)
def test_what_is_refused(value: bytes | None, headers: Any, says: str) -> None:
    """What no command may be is refused, with the reason, and answered."""
    with pytest.raises(Failure, match=says) as caught:
        read(value, [*headers, ("ce_replyto", b"replies")])
    assert "Unreadable" == caught.value.type
    assert "replies" == caught.value.envelope.reply_to
    assert len(caught.value.message) < 1_100


@pytest.mark.parametrize("header", ["ce_id", "ce_type", "ce_correlationid", "ce_deadline", "ce_retryof"])
def test_what_is_too_long_comes_back_nowhere(header: str) -> None:
    """Of what is too long nothing is in the answer, nor in what is kept of the command."""
    long = [*command_headers("c1", "AddLine", "/test"), (header, b"x" * 250_000)]
    with pytest.raises(Failure) as caught:
        read(b"{}", dict(long).items())
    known = caught.value.envelope
    texts = [known.id, known.type, known.reply_to, known.correlation_id, known.deadline, known.retry_of]
    assert sum(map(len, texts)) < 1_000
    assert len(str(caught.value)) < 1_000


def test_a_reply_topic_that_cannot_be() -> None:
    """A command whose reply topic is longer than one can be is done, and of that name no more is kept than says so."""
    for envelope in (
        read(b"{}", command_headers("c1", "AddLine", "/test", "x" * 250_000)),
        read(b'{"type":"AddLine","replyto":"' + b"x" * 250_000 + b'"}'),
    ):
        assert ("AddLine", 250) == (envelope.type, len(envelope.reply_to))
        assert not ANYWHERE.allow(envelope.reply_to)


def test_a_trace_that_is_none() -> None:
    """A traceparent that is longer than one can be is not passed on, and the command is done."""
    headers = command_headers("c1", "AddLine", "/test", traceparent="00-" + "a" * 250_000)
    assert "" == read(b"{}", headers).traceparent
    assert "" == read(b'{"type":"A","traceparent":"' + b"a" * 60 + b'"}').traceparent
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert trace == read(b"{}", command_headers("c1", "AddLine", "/test", traceparent=trace)).traceparent


def test_a_header_twice_with_one_value() -> None:
    """A header that says the same twice, as some proxies write it, is no reason to refuse a command."""
    assert "A" == read(b"{}", [("ce_type", b"A"), ("ce_type", b"A"), ("other", b"1"), ("other", b"2")]).type


def test_data_in_base64() -> None:
    """Data in base64, as CloudEvents has it for what is no JSON, are the data."""
    envelope = read(b'{"type":"AddLine","data_base64":"eyJza3UiOiJBIn0="}')
    assert (b'{"sku":"A"}', "application/json") == (envelope.data, envelope.content_type)
    envelope = read(b'{"type":"AddLine","datacontenttype":"avro/binary","data_base64":"wwE="}')
    assert (b"\xc3\x01", "avro/binary") == (envelope.data, envelope.content_type)


@pytest.mark.parametrize("timestamp", [253402300800.0, 1.7e12, 1.7e18, -0.001, float("nan"), float("inf")])
def test_a_time_beyond_the_calendar(timestamp: float) -> None:
    """A message whose time is none is refused: a command without a time of its own would get a wrong one."""
    with pytest.raises(Failure, match=r"the message's timestamp .*LogAppendTime"):
        read_envelope(Message(3, 7, b"1", b"{}", [("ce_type", b"PlaceOrder")], timestamp), "default-id")


@given(
    st.none() | st.binary(),
    st.lists(st.tuples(st.sampled_from(["ce_id", "ce_type", "ce_replyto", "content-type"]), st.none() | st.binary())),
    st.none() | st.binary(),
)
def test_nothing_but_failures(value: bytes | None, headers: Any, key: bytes | None) -> None:
    """No bytes make reading raise anything but a failure."""
    with contextlib.suppress(Failure):
        assert read(value, headers, key).type


@pytest.mark.parametrize(
    ("deadline", "failure"),
    [
        ("", None),
        ("2026-01-01T00:00:01Z", None),
        ("2025-12-31T23:59:59+00:00", "DeadlinePassed"),
        ("tomorrow", "Unreadable"),
        ("2026-01-01T00:00:01", "Unreadable"),
    ],
)
def test_deadline(deadline: str, failure: str | None) -> None:
    """A command past its deadline, or with one that cannot be read, fails."""
    envelope = Envelope("id", "AddLine", "1", b"", "application/json", 3, 0, datetime.now(UTC), deadline=deadline)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    if failure is None:
        assert check_deadline(envelope, now) is None  # type: ignore[func-returns-value]
    else:
        with pytest.raises(Failure) as caught:
            check_deadline(envelope, now)
        assert failure == caught.value.type


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("replies", True),
        ("my.app-1", True),
        ("order-events", False),
        ("a-commits", False),
        ("x y", False),
        ("__consumer_offsets", False),
        ("other_gateway-replies", False),
    ],
)
def test_reply_topics(topic: str, allowed: bool) -> None:
    """Replies go to no topic that a system of this kind reads."""
    assert allowed == ANYWHERE.allow(topic)


@pytest.mark.parametrize(
    ("topic", "refusal"),
    [
        ("t_replies", ""),
        ("t_gateway-replies", ""),
        ("shop.replies.till-7", ""),
        ("crm-inbox", ""),
        ("replies", "REPLY_TOPICS"),
        ("other.replies", "REPLY_TOPICS"),
        ("shop.replies.order-commands", "reads"),
        ("u_gateway-replies", "reads"),
        ("shop.replies. x", "legal"),
    ],
)
def test_reply_topics_that_are_allowed(topic: str, refusal: str) -> None:
    """Those with the prefixes of REPLY_TOPICS and this system's own; never one that a system reads, whoever's it is."""
    settings = Settings.from_environment({"REPLY_TOPICS": "shop.replies., crm-"})
    said = ReplyTopics(("t_replies", "t_gateway-replies"), settings.reply_prefixes).refusal(topic)
    assert (refusal in said) if refusal else not said
