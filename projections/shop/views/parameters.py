"""The query parameters of the shop's views."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from projections.http.pages import MOST_ROWS, After, Limit, Paging
from projections.http.parameters import EXAMPLE
from projections.shop.analytics import baskets, recommendation, sales
from projections.shop.analytics.question import EVER, Question, Window

_MONTH = "[0-9]{4}-(0[1-9]|1[0-2])"
_A_MONTH = "a month like 2011-01"
_A_DAY = f"a day like 2011-01-31, or {_A_MONTH}"

Month = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^{_MONTH}$",
        max_length=7,
        description="A month like `2011-01`, that one too",
        extra={EXAMPLE: _A_MONTH},
    ),
]
Day = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^{_MONTH}(-[0-9]{{2}})?$",
        description="A day like `2011-01-31`, or a month, which is all of its days",
        extra={EXAMPLE: _A_DAY},
    ),
]
Country = Annotated[str, msgspec.Meta(description="Only of this country; `-`: of orders that name none")]


class _Period(msgspec.Struct):
    """From which period to which, both included; of all time without."""

    from_: str | UnsetType = msgspec.field(name="from", default=UNSET)
    to: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        window = self.window
        if window.first > window.last:
            raise ValueError(f"from={self.from_!r} is after to={self.to!r}")

    @property
    def window(self) -> Window:
        """The days that are asked for. Raises `ValueError`."""
        first = EVER.first if self.from_ is UNSET else _day("from", self.from_, "01")
        last = EVER.last if self.to is UNSET else _day("to", self.to, "31")
        return Window(first, last)


def _day(name: str, text: str, of_month: str) -> str:
    """A day; of a month the given one. That a month may have fewer days does no harm: there are no rows of others."""
    if len(text) == len("2011-01"):
        return f"{text}-{of_month}"
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{name}={text!r}: {_A_DAY}") from None


class Months(_Period):
    """From which month to which."""

    from_: Month | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Month | UnsetType = UNSET


class Days(_Period):
    """From which day to which."""

    from_: Day | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Day | UnsetType = UNSET


class RevenueQuery(Days):
    """How revenue is grouped, and of which country."""

    by: Annotated[sales.By, msgspec.Meta(extra={EXAMPLE: "use day, month or country"})] = "month"
    country: Country | UnsetType = UNSET

    def question(self) -> Question:
        return sales.Revenue(self.by, None if self.country is UNSET else self.country, self.window)


class TopProductsQuery(Months):
    """How many products."""

    n: Annotated[int, msgspec.Meta(ge=1, le=sales.MOST_PRODUCTS, description="How many at most")] = 10

    def question(self) -> Question:
        return sales.TopProducts(self.n, self.window)


class BasketsQuery(Months):
    """The baskets of which months."""

    def question(self) -> Question:
        return baskets.Baskets(self.window)


class RecommendationQuery(Months):
    """How many products."""

    n: Annotated[int, msgspec.Meta(ge=1, le=recommendation.MOST_RECOMMENDED, description="How many at most")] = 10

    def question(self, sku: str) -> Question:
        return recommendation.Recommendation(sku, self.n, self.window)


class UsersOrders(msgspec.Struct):
    """A page, a large one by default."""

    limit: Limit = MOST_ROWS
    after: After = ""


class Search(Paging):
    """A page of what has all these words."""

    search: Annotated[
        str, msgspec.Meta(description="Words, or their beginnings, of stock code, name and categories")
    ] = ""
