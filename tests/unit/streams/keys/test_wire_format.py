"""The sealed form, byte by byte, as docs/privacy.md has it for other languages."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams.keys import envelope

PAGE = Path(__file__).parents[4] / "docs/privacy.md"


def test_the_example_of_the_page() -> None:
    """The envelope of the page is opened with the key of the page, bound to the bytes of the page."""
    sealed, bound = re.findall(r"^(?:envelope|bound) +([0-9a-f ]+)$", PAGE.read_text(), re.MULTILINE)
    expected = envelope.bound("ns.", "user", "17850", 1, "name")
    assert bytes.fromhex(bound) == expected
    assert 1 == envelope.number_of(bytes.fromhex(sealed))
    assert b"Ada Lovelace" == envelope.opened(AESGCM(bytes(range(32))), bytes.fromhex(sealed), expected)
