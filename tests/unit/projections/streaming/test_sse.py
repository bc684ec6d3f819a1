"""Server-sent events: who asks for them, and what an id may be."""

from __future__ import annotations

import pytest

from projections.http.at_least import BadPositionHeader
from projections.streaming.sse import read_place, wants_events


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/event-stream", True),
        ("application/json, Text/Event-Stream;q=0.5", True),
        ("*/*", False),
        ("application/json", False),
    ],
)
def test_who_wants_events(accept: str, wanted: bool) -> None:
    """Only who asks for them by name."""

    class Request:
        headers = {"Accept": accept}  # noqa: RUF012

    assert wanted == wants_events(Request())


def test_places() -> None:
    """A place is a position of that stream."""
    assert (12, 3) == read_place("order-0:12:3", "order-0")
    for text in ("order-1:12:3", "order-0:12", "order-0:12:3:4", "order-0:x:1", "order-0:1:²", f"order-0:{10**19}:0"):
        with pytest.raises(BadPositionHeader):
            read_place(text, "order-0")
