"""Positions as text, and their order."""

from __future__ import annotations

import pytest

from streams.journal.position import BadPosition, Position, parse_commit, parse_place


def test_text_and_back() -> None:
    """A position is read as it was written, with its place and its slice; leading zeros are passed over."""
    position = Position("order-line-3", 125, 7)
    assert ("order-line-3:125:7", f"{position}") == (str(position), "order-line-3:125:7")
    assert position == Position.parse("order-line-3:125:7") == Position.parse("order-line-3:0125:07")
    assert ((125, 7), (125, 7), 3) == (position.place, parse_place(str(position)), position.slice)


def test_positions_are_ordered_by_number() -> None:
    """By stream, commit and index, as numbers."""
    texts = ["a-0:2:0", "a-0:10:2", "a-0:10:10", "b-0:1:0"]
    assert texts == [str(position) for position in sorted(map(Position.parse, reversed(texts)))]


NONE = [
    "", "order-3", "order:1:0", "order-3:1:0:0", "order-3:-1:0", "order-3:+1:0", "order-3: 1:0", "order-3:1_0:0",
    "order-3:1:0\n", "order-3:²:0", "order-3:٣:0", "order-٣:1:0", "a b-3:1:0", "a/b-3:1:0", 'a"-3:1:0', "a:b-3:1:0",
    f"order-3:{10**18}:0", f"order-3:1:{10**9}", "-3:1:0", "order-:1:0", "order-3::0",
]  # fmt: skip


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_position(text: str) -> None:
    """All that read a position refuse it alike, in a text that is not long."""
    for read in (Position.parse, parse_place, parse_commit):
        with pytest.raises(BadPosition, match="not a position") as caught:
            read(text + "x" * 5_000 * (text == ""))
        assert len(str(caught.value)) < 250


def test_the_index_of_a_commit_may_be_missing() -> None:
    """Replies name a commit alone; an event is named with its index."""
    assert ("order-3", 125) == parse_commit("order-3:125") == parse_commit("order-3:125:0")
    for read in (Position.parse, parse_place):
        with pytest.raises(BadPosition):
            read("order-3:125")
