"""The headers with which a read asks to see a write: positions, and how long it may take."""

from __future__ import annotations

import time

import pytest

from projections.http.at_least import BadPositionHeader, read_all_at_least, read_at_least, read_wait
from projections.http.etags import tag_of

TYPES = ("order", "user")


def test_all_positions_count() -> None:
    """Of several headers and of lists each is meant, the newest of a stream."""
    values = ["order-0:7, user-3:1:5", "order-0:9:0", "order-1:2"]
    assert {"order-0": 9, "user-3": 1, "order-1": 2} == read_all_at_least(values, 4, TYPES)


def test_an_etag_is_a_position() -> None:
    """Who has seen a row can ask for it, or a newer one, by its ETag; by a weak one too, as proxies make them."""
    tag = tag_of("orders-1", "order-3:125:0", 9, b"{}")
    for text in (tag.etag, str(tag), f"W/{tag.etag}"):
        assert {"order-3": 125} == read_all_at_least([text], 4, TYPES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order-0",
        "order-4:1",
        "product-0:1",
        "order:0:1",
        "order-0:1:2:3",
        "order-0:-1",
        "order-٣:1",
        "order-0:٣",
        "order-0:1\n",
        "order-0:1,,",
        "order-" + "9" * 5_000 + ":1",
        "order-0:" + "9" * 5_000,
    ],
)
def test_what_is_no_position(text: str) -> None:
    """It is said to be none, whatever it is and however long, in a text that is not long."""
    with pytest.raises(BadPositionHeader, match="not a position like order-3:125") as caught:
        read_all_at_least([text], 4, TYPES)
    assert len(str(caught.value)) < 250


def test_a_long_header_is_read_at_once() -> None:
    """A header as long as any that is let in takes no time."""
    began = time.process_time()
    for text in ("order-1" * 1_100, "-1" * 4_000 + ":", "order-" + "0" * 8_000):
        with pytest.raises(BadPositionHeader):
            read_at_least(text, 4, TYPES)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=3", 3),
        ("WAIT = 3", 3),
        ('wait="3"', 3),
        ("respond-async, wait=3", 3),
        ("wait=3;foo", 3),
        ("wait=0", 0),
        ("wait=61", 60),
        ("wait=" + "9" * 5_000, 60),
        ("", 5),
        ("wait", 5),
        *((f"wait={text}", 5) for text in ("nan", "inf", "-1", "1e9", "3x", "1.5", "٣", "1_0", '"3', "")),
    ],
)
def test_prefer(prefer: str, seconds: float) -> None:
    """From 0 to 60 whole seconds; what is no number of seconds is passed over, as RFC 7240 has it."""
    assert seconds == read_wait(prefer)
