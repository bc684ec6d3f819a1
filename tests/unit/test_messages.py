"""Commands as they stand on Kafka."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.messages import Envelope, Failure, check_deadline, command_headers, read_envelope
from streams.topics import may_take_replies


def read(value: bytes | None, headers: Any = (), key: bytes | None = b"536365") -> Envelope:
    return read_envelope(key, value, headers, 7, 1_700_000_000.5, "default-id")


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
    assert "replies" == caught.value.envelope.reply_to  # type: ignore[attr-defined]


@given(
    st.none() | st.binary(),
    st.lists(st.tuples(st.sampled_from(["ce_id", "ce_type", "ce_replyto", "content-type"]), st.binary())),
    st.none() | st.binary(),
)
def test_nothing_but_failures(value: bytes | None, headers: list[tuple[str, bytes]], key: bytes | None) -> None:
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
    envelope = Envelope("id", "AddLine", "1", b"", "application/json", 0, datetime.now(UTC), deadline=deadline)
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
    ],
)
def test_reply_topics(topic: str, allowed: bool) -> None:
    """Replies go to no topic that the system itself reads."""
    assert allowed == may_take_replies(topic)
