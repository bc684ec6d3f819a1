"""What strangers have put on a changelog is none of a table's, whatever it is."""

from __future__ import annotations

import pytest

from projections.stores.changelog import PLACE, QUARANTINED, ROW, is_ours, key_of


@pytest.mark.parametrize("kind", [ROW, PLACE, QUARANTINED])
@pytest.mark.parametrize("value", [b"", b"\xff", b"null", b"[" * 100_000, b'{"a":' * 5_000, b"9" * 5_000])
def test_a_value_that_is_none(kind: bytes, value: bytes) -> None:
    """A record under a key of a table whose value cannot be read, nested without end say, is left out."""
    assert not is_ours(key_of("orders-1", kind, "A-1"), value)
