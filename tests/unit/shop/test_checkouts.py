"""The table of checkouts and the setting of their app."""

from __future__ import annotations

from typing import Any

import pytest

from aggregates.shop.checkout import (
    AllReserved,
    CheckoutCancelled,
    CheckoutRejected,
    CheckoutShipped,
    CheckoutStarted,
    LateReservation,
    LineReserved,
)
from projections.shop.tables.checkouts import checkouts
from streams.settings import SettingsError, whole_number
from tests.folded import published
from tests.specification import NOW, given

STARTED = CheckoutStarted({"A": 2, "B": 1}, NOW)
SKUS = ("A", "B")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((), {"status": "reserving", "waiting": 2}),
        ((LineReserved("A", 2),), {"status": "reserving", "waiting": 1}),
        ((LineReserved("A", 2), LineReserved("B", 1), AllReserved()), {"status": "reserved", "waiting": 0}),
        (
            (LineReserved("A", 2), CheckoutRejected("out of stock: B", SKUS), LateReservation("B")),
            {"status": "rejected", "waiting": 1, "reason": "out of stock: B"},
        ),
        (
            (CheckoutCancelled("changed my mind", SKUS),),
            {"status": "cancelled", "waiting": 2, "reason": "changed my mind"},
        ),
        (
            (LineReserved("A", 2), LineReserved("B", 1), AllReserved(), CheckoutShipped(SKUS)),
            {"status": "shipped", "waiting": 0},
        ),
    ],
    ids=["started", "one line", "all lines", "rejected", "cancelled", "shipped"],
)
def test_row(events: tuple[Any, ...], expected: dict[str, Any]) -> None:
    """A checkout's row says how many of its lines are waited for, until when, and why it ended."""
    row = {"id": "1", "lines": 2, "reason": None, "deadline": "2026-01-01T12:00:00.000Z", **expected}
    history = (published(event, sequence=nr) for nr, event in enumerate((STARTED, *events), 1))
    given(checkouts, *history).then_rows({"1": row})


def test_deadline_setting() -> None:
    """The deadline is a whole number of seconds; anything else is an error that says what would do."""
    for environment, expected in (({}, 60), ({"CHECKOUT_DEADLINE": ""}, 60), ({"CHECKOUT_DEADLINE": "5"}, 5)):
        assert expected == whole_number("CHECKOUT_DEADLINE", 60, 3_600, environment)
    for text in ("0", "-1", "1.5", "soon", "3601"):
        with pytest.raises(SettingsError, match=rf"^CHECKOUT_DEADLINE='{text}': use a whole number, 1 to 3600$"):
            whole_number("CHECKOUT_DEADLINE", 60, 3_600, {"CHECKOUT_DEADLINE": text})
