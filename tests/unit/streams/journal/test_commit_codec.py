"""The payload of a commit, of this version and of those before."""

from __future__ import annotations

from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.journal import commit_codec
from streams.journal.commit_codec import COMMIT_SCHEMAS, UnreadableCommit, decode_events, encode_events
from streams.journal.port import RecordedEvent

ROW = RecordedEvent("1", 1, "Told", b"\xc3\x01", "c", "k", "t", "Tell 0123456789abcd")


def test_a_round_trip() -> None:
    """All that a row holds comes back."""
    assert (ROW, RecordedEvent("é", 0, "", b"", "c")) == decode_events(
        encode_events([ROW, RecordedEvent("é", 0, "", b"", "c")])
    )


def test_the_first_version() -> None:
    """Commits of before commands were remembered are read; their schema is kept beside the commits, too."""
    _, header, schema = commit_codec._VERSIONS[0]
    fields = {name: getattr(ROW, name) for name in ROW.__struct_fields__ if name != "command"}
    out = BytesIO(header)
    out.seek(len(header))
    fastavro.schemaless_writer(out, schema, {"events": [fields]})
    [row] = decode_events(out.getvalue())
    assert RecordedEvent(*(getattr(ROW, name) for name in fields)) == row
    assert header[2:].hex() in COMMIT_SCHEMAS
    assert 2 == len(COMMIT_SCHEMAS)


@pytest.mark.parametrize("cut", [0, 1, 9, 10, 30])
def test_what_is_damaged(cut: int) -> None:
    """It is said, and nothing else is raised."""
    with pytest.raises(UnreadableCommit):
        decode_events(encode_events([ROW])[:cut])


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.just("é" * 700)
rows = st.builds(
    RecordedEvent, texts, st.integers(-(2**63), 2**63 - 1), texts, st.binary(max_size=5_000), texts, texts, texts, texts
)


@given(st.lists(rows, max_size=4))
def test_the_bytes_are_those_of_the_library(events: list[RecordedEvent]) -> None:
    """What is written field by field is what fastavro writes, so any Avro library reads it."""
    out = BytesIO()
    fields = [{name: getattr(row, name) for name in row.__struct_fields__} for row in events]
    fastavro.schemaless_writer(out, commit_codec._VERSIONS[-1][2], {"events": fields})
    assert commit_codec._WRITTEN_HEADER + out.getvalue() == encode_events(events)
