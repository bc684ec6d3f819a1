"""What analytics counts: a sale from its placing until it is withdrawn, a credit with the opposite sign.

All of it belongs to the day on which the order was opened, in UTC, whenever its events come: what happened is told by
the event, not by a clock. No day is ever closed, so none of them is late: a sale that is placed long after it was
opened, and one that is withdrawn months later, change the sums of their own day.
"""

from __future__ import annotations

from typing import NamedTuple

from aggregates.shop.order import Line, OrderPlaced, Sale, SaleWithdrawn
from projections.projection import PublishedEvent


class Counted(NamedTuple):
    """A sale or a credit, and how often it counts from now on: once more, 1, or once less, -1."""

    sale: Sale
    times: int

    @property
    def sign(self) -> int:
        """Of its money and its goods: a credit gives back."""
        return self.times if self.sale.kind == "sale" else -self.times


def counted(published: PublishedEvent) -> Counted | None:
    """What an event counts, if anything."""
    match published.event:
        case OrderPlaced() as placed:
            return Counted(placed, 1)
        case SaleWithdrawn() as withdrawn:
            return Counted(withdrawn, -1)
        case _:
            return None


def basket(published: PublishedEvent) -> Counted | None:
    """The same of sales alone: a credit is no basket."""
    found = counted(published)
    return found if found is not None and found.sale.kind == "sale" else None


def day(sale: Sale) -> str:
    """That it belongs to: `2011-01-31`."""
    return sale.opened_at.isoformat()[:10]


def month(sale: Sale) -> str:
    """That it belongs to: `2011-01`."""
    return sale.opened_at.isoformat()[:7]


_grouped: tuple[Sale | None, dict[str, list[Line]]] = (None, {})


def by_product(sale: Sale) -> dict[str, list[Line]]:
    """Its lines by stock code; not to be changed.

    The newest answer is kept. A projection by product is asked for the row of each, one after another, and looking
    through all lines for each would make an order of 5,000 lines cost seconds.
    """
    global _grouped
    known, lines = _grouped
    if known is not sale:
        lines = {}
        for line in sale.lines:
            lines.setdefault(line.sku, []).append(line)
        _grouped = sale, lines
    return lines
