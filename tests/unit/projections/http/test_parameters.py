"""One declaration reads the parameters of a query, and says what is wrong with them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import UNSET, UnsetType
from multidict import MultiDict

from projections.http.pages import Paging
from projections.http.parameters import EXAMPLE, read_query
from projections.http.problems import BadRequest

Day = Annotated[str, msgspec.Meta(pattern="^[0-9]$", max_length=1, extra={EXAMPLE: "a day like 7"})]


class Asked(Paging):
    """Some of all kinds."""

    by: Literal["a", "b", "c"] = "a"
    number: Annotated[int, msgspec.Meta(ge=0, lt=10)] | UnsetType = UNSET
    from_: Day | UnsetType = msgspec.field(name="from", default=UNSET)

    def __post_init__(self) -> None:
        if self.from_ == "0":
            raise ValueError("from='0' is no day")


def test_parameters() -> None:
    """What is not there has its default, what is not known is ignored, and of two the first counts."""
    assert Asked() == read_query({}, Asked)
    query = MultiDict([("limit", "7"), ("limit", "x"), ("other", "1"), ("from", "3"), ("number", "0"), ("after", "5")])
    assert Asked(limit=7, after="5", number=0, from_="3") == read_query(query, Asked)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("limit", "0", "limit='0': a number from 1 to 1000"),
        ("limit", "", "limit='': a number from 1 to 1000"),
        ("limit", "٣", "limit='٣': a number from 1 to 1000"),
        ("limit", "9" * 5_000, f"limit='{'9' * 5_000}': a number from 1 to 1000"),
        ("number", "10", "number='10': a number from 0 to 9"),
        ("number", "null", "number='null': a number from 0 to 9"),
        ("by", "d", "by='d': use a, b or c"),
        ("from", "30", "from='30': a day like 7"),
        ("from", "3\n", r"from='3\n': a day like 7"),
        ("from", "0", "from='0' is no day"),
    ],
)
def test_what_cannot_be_read(name: str, text: str, message: str) -> None:
    """Is 400, and the detail names the parameter and what it is to be."""
    with pytest.raises(BadRequest) as refused:
        read_query({name: text}, Asked)
    assert (400, message) == (refused.value.status, str(refused.value))


@pytest.mark.parametrize("name", ["limit", "by", "number", "from"])
def test_bytes_that_are_no_utf_8(name: str) -> None:
    """Are 400, too."""
    with pytest.raises(BadRequest):
        read_query({name: "\udcff"}, Asked)
