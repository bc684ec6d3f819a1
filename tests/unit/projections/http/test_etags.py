"""An ETag names the representation, and what clients say of ETags is read as RFC 9110 has it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from projections.http.etags import Entity, is_known, read_entities, read_tag, tag_of

BODY = b'{"id":"7"}'
TAG = tag_of("orders-1", "order-3:125:0", 9, BODY)


def test_a_tag_says_what_it_is_of() -> None:
    """Table, position and sequence can be read in it, and again from its text."""
    assert str(TAG).startswith("orders-1/order-3:125:0/9/")
    assert TAG == read_tag(str(TAG))
    assert f'"{TAG}"' == TAG.etag


@pytest.mark.parametrize(
    "other",
    [
        tag_of("orders-2", "order-3:125:0", 9, BODY),
        tag_of("orders-1", "order-3:126:0", 9, BODY),
        tag_of("orders-1", "order-3:125:0", 10, BODY),
        tag_of("orders-1", "order-3:125:0", 9, BODY + b" "),
    ],
)
def test_another_representation_has_another_tag(other: object) -> None:
    """Another table, a newer row, and a row that was corrected at the same position."""
    assert str(TAG) != str(other)


@pytest.mark.parametrize(
    "text", ["", "abc", "order-3:125:0", "orders-1/order-3:125/9/0123456789abcdef", f"{TAG}0", f"x/{TAG}", f"{TAG}\n"]
)
def test_what_is_no_tag(text: str) -> None:
    """Clients may send anything."""
    assert None is read_tag(text)


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (['"a"'], [("a", False)]),
        (['W/"a"'], [("a", True)]),
        (['"a", W/"b" ,,"c,d"'], [("a", False), ("b", True), ("c,d", False)]),
        (['"a"', '"b"'], [("a", False), ("b", False)]),
        (['""'], [("", False)]),
        ([" , "], []),
        (["*"], None),
        ([" * "], None),
    ],
)
def test_grammar(values: list[str], read: list[tuple[str, bool]] | None) -> None:
    """Lists, weak tags, commas in tags, several headers, and `*`."""
    assert (None if read is None else [Entity(*it) for it in read]) == read_entities(values)


@pytest.mark.parametrize("text", ["a", '"a', 'w/"a"', '"a" "b"', '"a b"', '*, "a"', '"a"*', "W/*", "9"])
def test_no_list_of_tags(text: str) -> None:
    """What is none is said to be none, and as `If-None-Match` it counts as no header."""
    with pytest.raises(ValueError, match="list of entity tags"):
        read_entities([text])
    assert not is_known(CIMultiDict({"If-None-Match": text}), TAG.etag)


def test_who_has_it_is_told_so() -> None:
    """By the tag itself, a weak one, one of a list or of several headers, or `*`; by no other."""
    for value in (TAG.etag, f"W/{TAG.etag}", f'"x", {TAG.etag}', "*"):
        assert is_known(CIMultiDict({"If-None-Match": value}), TAG.etag), value
    two = CIMultiDict([("If-None-Match", '"x"'), ("If-None-Match", TAG.etag)])
    assert is_known(two, TAG.etag)
    assert not is_known(CIMultiDict({"If-None-Match": '"x", "order-3:125:0"'}), TAG.etag)
    assert not is_known(CIMultiDict(), TAG.etag)


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_header_is_read(values: list[str]) -> None:
    """Whatever a client sends is read as a list or said to be none, in no time."""
    with contextlib.suppress(ValueError):
        read_entities(values)
