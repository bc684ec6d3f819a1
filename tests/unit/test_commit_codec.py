"""The payload of a commit, of this version and of those before."""

from __future__ import annotations

from io import BytesIO

import fastavro
import pytest

from streams import commit_codec
from streams.commit_codec import COMMIT_SCHEMAS, UnreadableCommit, decode_events, encode_events
from streams.journal import RecordedEvent

ROW = RecordedEvent("1", 1, "Told", b"\xc3\x01", "c", "k", "t", "Tell 0123456789abcd")


def test_a_round_trip() -> None:
    """All that a row holds comes back."""
    assert (ROW, RecordedEvent("é", 0, "", b"", "c")) == decode_events(
        encode_events([ROW, RecordedEvent("é", 0, "", b"", "c")])
    )


def test_the_first_version() -> None:
    """Commits of before commands were remembered are read; their schema is kept beside the commits, too."""
    _, header, schema = commit_codec._FIRST
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
