"""Whatever bytes come in, each reader returns a value or raises its own failure, in bounded time and memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from tests.fuzz.hostile import TIMES, raw
from tests.fuzz.reader import Reader
from tests.fuzz.readers import READERS
from tests.fuzz.runner import found, hold

EXAMPLES = 200


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """What is said of thousands of hostile records is of no use here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_reader_returns_or_fails_as_it_says(reader: Reader) -> None:
    """Nothing else than what it declares is raised, above all no `RecursionError` and no `MemoryError`."""
    hold(reader, EXAMPLES)


BAD: dict[str, tuple[Callable[[Any], Any], tuple[type[Exception], ...]]] = {
    "RecursionError": (lambda it: msgspec.json.decode(it[0]), (msgspec.DecodeError, UnicodeDecodeError)),
    "UnicodeDecodeError": (lambda it: it[0].decode(), ()),
    "Exceeds the limit": (lambda it: it[0].isdigit() and int(it[0]), ()),
    "out of range": (lambda it: datetime.fromtimestamp(max(it[1], 0) / 1000, UTC), (OverflowError, OSError)),
    "TooMuch": (lambda it: bytearray(2**28 if it[0] == b"\xff" else 0), ()),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_reader_is_found(what: str) -> None:
    """The search finds readers that stumble over depth, bytes that are no text, digits without end, times, or sizes."""
    read, declared = BAD[what]
    reader = Reader("a bad one", st.tuples(raw, st.sampled_from(TIMES)), read, declared, watched=what == "TooMuch")
    assert what in found(reader, 1, 5 * EXAMPLES)
