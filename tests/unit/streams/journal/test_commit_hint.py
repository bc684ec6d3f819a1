"""What a hint says, and of whom it is believed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from streams.journal import commit_hint
from streams.journal.commit_codec import encode_payload
from streams.journal.commit_hint import CarriedCommit, CommitId, Hint, encode_hint, read_hint, signed
from streams.journal.port import Commit, RecordedEvent, SliceHead

KEY = "a key"
FIRST = Commit("order@1", 7, 3, "host:1:ab", "topic", {0: SliceHead(4, 7), 2: SliceHead(9, 5)}, 6, datetime.now(UTC))
EVENT = RecordedEvent("1", 2, "Placed", b"\xc3\x01data", "c1", "k1", "trace", "Place 1234")
NEXT = replace(FIRST, nr=8, events=(EVENT,), recorded_at=datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC))


def test_a_commit_is_brought_as_it_is() -> None:
    """With the one before, whatever the fence tells them apart by."""
    assert Hint(8, CarriedCommit(NEXT, CommitId(7, 3, "host:1:ab"))) == read_hint(encode_hint(NEXT, FIRST, KEY), KEY)


def test_the_number_alone() -> None:
    """Of a large commit, of one without one before, and where there is no key; it is what older versions write."""
    large = replace(NEXT, events=(replace(EVENT, data=b"x" * commit_hint.MOST_BYTES),))
    for hint in (encode_hint(large, FIRST, KEY), encode_hint(NEXT, None, KEY), encode_hint(NEXT, FIRST)):
        assert b"8" == hint
        assert Hint(8) == read_hint(hint, KEY)


@pytest.mark.parametrize(
    "value",
    [
        encode_hint(NEXT, FIRST, "the key of another journal"),
        encode_hint(NEXT, FIRST, KEY)[:-1],
        encode_hint(NEXT, FIRST, KEY).replace(b"Placed", b"Broken"),
        signed(b"", KEY),
        signed(b"\x93\x01\x02\x03", KEY),
        signed(encode_hint(NEXT, FIRST, KEY)[17:].replace(encode_payload({}, ())[:10], b"\xc3\x01" + b"\xff" * 8), KEY),
        b"\x01",
        b"-3",
        "٣".encode(),
        b"9" * 30,
        b"",
        None,
    ],
)
def test_what_says_nothing(value: bytes | None) -> None:
    """Of somebody without the key, damaged, no hint at all, or of a version that is newer: it only wakes the tail."""
    assert Hint(0) == read_hint(value, KEY)


def test_without_a_key_nobody_is_believed() -> None:
    """A layout of an older version has none, and anybody could sign with that."""
    assert Hint(0) == read_hint(signed(encode_hint(NEXT, FIRST, KEY)[17:], ""), "")
