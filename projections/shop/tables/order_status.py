"""The number of orders by status.

An event does not say the former status of its order, so no sum over events gives these numbers. The rows of `orders`
have the status. Their store counts them by status in the write that changes them, and the counts of all partitions are
added up here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from aggregates.shop.order import Status
from projections.projection import Row

STATUSES = tuple(status for status in get_args(Status) if status != "new")
"""Those of an order that exists, in the order in which it comes to them."""


def by_status(counts: Iterable[Mapping[str, int]]) -> Row:
    """Counts by status, each of some partitions, added up: the number of orders of every status."""
    sums = dict.fromkeys(STATUSES, 0)
    for part in counts:
        for status, count in part.items():
            sums[status] = sums.get(status, 0) + count
    return {"orders": sum(sums.values()), "statuses": sums}
