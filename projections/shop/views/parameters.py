"""What the shop's views are asked: their query parameters."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from projections.http.pages import MOST_ROWS, After, Limit, Paging
from projections.shop.analytics import recommendation, sales

_MONTH = "[0-9]{4}-(0[1-9]|1[0-2])"
Month = Annotated[str, msgspec.Meta(pattern=f"^{_MONTH}$", description="A month like `2011-01`, that one too")]
Day = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^{_MONTH}(-[0-9]{{2}})?$", description="A day like `2011-01-31`, or a month, which is all of its days"
    ),
]


Country = Annotated[str, msgspec.Meta(description="Only of this country; `-`: of orders that name none")]


class Months(msgspec.Struct):
    """From which month to which; of all time without."""

    from_: Month | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Month | UnsetType = UNSET


class Days(msgspec.Struct):
    """From which day to which; of all time without."""

    from_: Day | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Day | UnsetType = UNSET


class Revenue(Days):
    """How it is grouped, of which country."""

    by: Literal["day", "month", "country"] = "month"
    country: Country | UnsetType = UNSET


class TopProducts(Months):
    """How many."""

    n: Annotated[int, msgspec.Meta(ge=1, le=sales.MOST_PRODUCTS, description="How many at most")] = 10


class Recommended(Months):
    """How many."""

    n: Annotated[int, msgspec.Meta(ge=1, le=recommendation.MOST_RECOMMENDED, description="How many at most")] = 10


class UsersOrders(msgspec.Struct):
    """A page, a large one by default."""

    limit: Limit = MOST_ROWS
    after: After = ""


class Search(Paging):
    """A page of what has all these words."""

    search: Annotated[
        str, msgspec.Meta(description="Words, or their beginnings, of stock code, name and categories")
    ] = ""
