"""The payload of a commit: how far the slices of its log are, and its events."""

from __future__ import annotations

from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.journal import commit_codec
from streams.journal.commit_codec import COMMIT_SCHEMAS, UnreadableCommit, decode_payload, encode_payload
from streams.journal.port import RecordedEvent, SliceHead

ROW = RecordedEvent("1", 1, "Told", b"\xc3\x01", "c", "k", "t", "Tell 0123456789abcd")
SLICES = {5: SliceHead(41, 7), 0: SliceHead(), 31: SliceHead(2**62, 0)}


def test_a_round_trip() -> None:
    """All that the slices and the rows hold comes back, in the order in which they were given."""
    rows = (ROW, RecordedEvent("é", 0, "", b"", "c"))
    slices, events, is_seal = decode_payload(encode_payload(SLICES, rows))
    assert (list(SLICES.items()), rows) == (list(slices.items()), events)
    assert not is_seal
    assert ({}, (), True) == decode_payload(encode_payload({}, (), True))


def test_its_schema_is_kept() -> None:
    """Under the fingerprint with which a payload begins."""
    assert encode_payload(SLICES, [ROW])[2:10].hex() in COMMIT_SCHEMAS


def test_a_payload_of_another_schema() -> None:
    """It is not read as if it were of this one."""
    with pytest.raises(UnreadableCommit, match=r"starts with c301[0-9a-f]{16}, which is no schema known here"):
        decode_payload(b"\xc3\x01" + bytes(8) + encode_payload(SLICES, [ROW])[10:])


@pytest.mark.parametrize("cut", [0, 1, 9, 10, 13, 30, 60])
def test_what_is_damaged(cut: int) -> None:
    """It is said, and nothing else is raised."""
    with pytest.raises(UnreadableCommit):
        decode_payload(encode_payload(SLICES, [ROW])[:cut])


numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.just("é" * 700)
rows = st.builds(
    RecordedEvent, texts, numbers, texts, st.binary(max_size=5_000), texts, texts, texts, texts, st.just("") | texts
)
heads = st.dictionaries(st.integers(0, 2**31 - 1), st.builds(SliceHead, numbers, numbers), max_size=70)


@given(heads, st.lists(rows, max_size=4), st.booleans())
def test_the_bytes_are_those_of_the_library(
    slices: dict[int, SliceHead], events: list[RecordedEvent], is_seal: bool
) -> None:
    """What is written field by field is what fastavro writes, so any Avro library reads it."""
    out = BytesIO()
    record = {
        "slices": [{"slice": n, "offset": head.offset, "eventful_nr": head.eventful_nr} for n, head in slices.items()],
        "is_seal": is_seal,
        "events": [{name: getattr(row, name) for name in row.__struct_fields__} for row in events],
    }
    _, header, schema = commit_codec._VERSIONS[any(event.principal for event in events)]
    fastavro.schemaless_writer(out, schema, record)
    assert header + out.getvalue() == encode_payload(slices, events, is_seal)
    assert (slices, tuple(events), is_seal) == decode_payload(encode_payload(slices, events, is_seal))
