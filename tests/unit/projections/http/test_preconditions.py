"""Which sequence a command expects of its aggregate, as its headers say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from projections.http.etags import tag_of
from projections.http.preconditions import expected_sequence
from projections.http.problems import HttpProblem

TAG = tag_of("orders-1", "order-3:125:0", 9, b"{}")
FOREIGN = tag_of("users-1", "user-3:125:0", 9, b"{}")
ELSEWHERE = tag_of("orders-1", "order-2:125:0", 9, b"{}")
NEWER = tag_of("orders-1", "order-3:126:0", 10, b"{}")
ALSO = tag_of("orders-2", "order-3:125:0", 9, b"[]")


def expected(*headers: tuple[str, str]) -> str:
    return expected_sequence(CIMultiDict(headers), "order", 3)


@pytest.mark.parametrize(
    ("value", "sequence"),
    [
        (TAG.etag, "9"),
        ("9", "9"),
        ('"9"', "9"),
        ("007", "7"),
        ("0", "0"),
        ("*", "*"),
        (f'W/"x", {TAG.etag}, {FOREIGN.etag}', "9"),
        (f"{TAG.etag}, {ALSO.etag}", "9"),
    ],
)
def test_if_match(value: str, sequence: str) -> None:
    """An ETag or a number names a sequence, `*` any; of a list what may match counts."""
    assert sequence == expected(("If-Match", value))


def test_if_none_match() -> None:
    """`*` says that the aggregate is not to exist; nothing else can be asked of a command."""
    assert "0" == expected(("If-None-Match", "*"))
    for value in (TAG.etag, "9", ""):
        assert 400 == refused(("If-None-Match", value)).status


def test_nothing_is_expected() -> None:
    """Without such a header."""
    assert "" == expected(("Accept", "*"))


def refused(*headers: tuple[str, str]) -> HttpProblem:
    with pytest.raises(HttpProblem) as caught:
        expected(*headers)
    return caught.value


@pytest.mark.parametrize("value", [f"W/{TAG.etag}", FOREIGN.etag, ELSEWHERE.etag, '"abc"', '"order-3:125:0"', '""', ""])
def test_what_never_holds(value: str) -> None:
    """A weak tag, one of another type or partition, one of nothing, and a list of none: 412, and no owner need be
    asked."""
    assert (412, "Precondition failed") == (refused(("If-Match", value)).status, refused(("If-Match", value)).title)


@pytest.mark.parametrize(
    "value", ["abc", "-1", "1.0", "٣", '"a', f'{TAG.etag} "b"', "9, 10", "9" * 19, f"*, {TAG.etag}"]
)
def test_what_cannot_be_read(value: str) -> None:
    """It is 400, with how it is to look."""
    assert 400 == refused(("If-Match", value)).status


def test_one_sequence_can_be_expected() -> None:
    """Two that may both match, and both headers at once, are 400."""
    assert "9, 10" in str(refused(("If-Match", f"{TAG.etag}, {NEWER.etag}")))
    assert 400 == refused(("If-Match", TAG.etag), ("If-Match", NEWER.etag)).status
    assert 400 == refused(("If-Match", "9"), ("If-None-Match", "*")).status


@given(st.text(max_size=60))
def test_any_header(value: str) -> None:
    """Whatever a client sends is read, or refused with 400 or 412."""
    for name in ("If-Match", "If-None-Match"):
        found, refusal = None, None
        try:
            found = expected((name, value))
        except HttpProblem as error:
            refusal = error.status
        assert refusal in (400, 412) if found is None else found == "*" or found.isdecimal()
