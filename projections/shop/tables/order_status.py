"""How many orders have which status.

Events do not say what an order's status was before, so no sum over events can tell: the rows of `orders` can, which
have it. What keeps those counts them by status in the same write that changes them, and here the counts of all
partitions are added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from aggregates.shop.order import Status
from projections.projection import Row

STATUSES = tuple(status for status in get_args(Status) if status != "new")
"""Those of an order that exists, in the order in which it comes to them."""


def by_status(counts: Iterable[Mapping[str, int]]) -> Row:
    """The counts of some partitions each, by status, put together: every status, and how many orders there are."""
    sums = dict.fromkeys(STATUSES, 0)
    for part in counts:
        for status, count in part.items():
            sums[status] = sums.get(status, 0) + count
    return {"orders": sum(sums.values()), "statuses": sums}
