"""Sales and credits as analytics counts them: a sale from its placing until it is withdrawn, a credit with the opposite
sign.

They belong to the day on which the order was opened, in UTC, whenever its events come. No day is ever closed, so no
event is late: a sale that is placed long after it was
opened, and one that is withdrawn months later, change the sums of their own day.
"""

from __future__ import annotations

from typing import NamedTuple

from aggregates.shop.order import Line, OrderPlaced, Sale, SaleWithdrawn
from projections.projection import PublishedEvent


class Counted(NamedTuple):
    """A sale or a credit that counts once more from now on (1), or once less (-1)."""

    sale: Sale
    times: int

    @property
    def sign(self) -> int:
        """The sign of its money and its goods: a credit gives back."""
        return self.times if self.sale.kind == "sale" else -self.times


def counted(published: PublishedEvent) -> Counted | None:
    """The sale or credit that an event counts; None for other events."""
    match published.event:
        case OrderPlaced() as placed:
            return Counted(placed, 1)
        case SaleWithdrawn() as withdrawn:
            return Counted(withdrawn, -1)
        case _:
            return None


def basket(published: PublishedEvent) -> Counted | None:
    """The sale that an event counts; None for a credit, which is no basket."""
    found = counted(published)
    return found if found is not None and found.sale.kind == "sale" else None


def day(sale: Sale) -> str:
    """The day that a sale belongs to: `2011-01-31`."""
    return sale.opened_at.isoformat()[:10]


def month(sale: Sale) -> str:
    """The month that a sale belongs to: `2011-01`."""
    return sale.opened_at.isoformat()[:7]


_grouped: tuple[Sale | None, dict[str, list[Line]]] = (None, {})


def by_product(sale: Sale) -> dict[str, list[Line]]:
    """The lines of a sale by stock code; not to be changed.

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
