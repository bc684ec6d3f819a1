"""A page of what many partitions have: each gives one row more than the page holds, behind the cursor, in order.

The cursor is what rows are sorted by, of the last row that was shown. It is to be something that does not change:
then a row that is there all the time is shown on one page, and on one only, whatever is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec

from projections.projection import Row


def page(answers: Iterable[Iterable[Row]], limit: int, by: Callable[[Row], Any]) -> tuple[list[Row], bool]:
    """The first `limit` rows of all answers by their order, and whether there are more."""
    rows = sorted((row for answer in answers for row in answer), key=by)
    return rows[:limit], len(rows) > limit


DEFAULT_LIMIT, MOST_ROWS = 50, 1_000

Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS, description="How many at most")]
After = Annotated[str, msgspec.Meta(description="The `next` of the page before, to go on behind it")]


class Paging(msgspec.Struct):
    """The parameters of a page."""

    limit: Limit = DEFAULT_LIMIT
    after: After = ""
