"""A row of a projection, event by event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from projections.applying.event_reader import Event
from projections.console.steps import Stepper
from projections.projection import Projection, PublishedEvent


def event(sequence: int, *values: Any) -> Event:
    """An event of the aggregate a, which stands for these values today."""
    envelope = ("a", sequence, "2026-11-30T10:00:00Z", "order-3", sequence, 0)
    parts = [PublishedEvent(value, "Counted", *envelope) for value in values]
    origin = parts[0] if parts else PublishedEvent(None, "Dropped", *envelope)
    return Event((sequence, 0), True, origin, parts, -1, None)  # type: ignore[arg-type]


def total(row: Mapping[str, Any] | None, key: str, given: PublishedEvent) -> Mapping[str, Any] | None:
    """Adds up; 0 removes the row, and -1 is a bug."""
    if given.event == -1:
        raise ValueError("never below\nzero")
    return None if given.event == 0 else {"total": (row or {"total": 0})["total"] + given.event}


def rows(stepper: Stepper, *events: Event) -> list[Any]:
    found = [stepper.given(each) for each in events]
    return [step and (step.sequence, step.row and bytes(step.row), step.error or step.skipped) for step in found]


TOTAL = Projection("total", 3, "order", total)


def test_before_and_after() -> None:
    """Each step has the row after its event, of which several parts count as one; a removed row begins anew."""
    stepper = Stepper(TOTAL)
    assert [(1, b'{"total":1}', None), (2, b'{"total":6}', None), (3, None, None), (4, b'{"total":9}', None)] == rows(
        stepper, event(1, 1), event(2, 2, 3), event(3, 0), event(4, 9)
    )
    assert ("a", ["a"]) == (stepper.key, [*stepper.keys])


def test_what_stands_for_nothing_any_more() -> None:
    """It is a step of the row of its aggregate, which counts it, and changes nothing."""
    assert [(1, b'{"total":1}', None), (2, b'{"total":1}', None)] == rows(Stepper(TOTAL), event(1, 1), event(2))


def test_where_it_raises() -> None:
    """The row is as before, with the reason in one line, and nothing follows: a table would have the key wait."""
    assert [(1, b'{"total":1}', None), (2, b'{"total":1}', "ValueError: never below zero"), None] == rows(
        Stepper(TOTAL), event(1, 1), event(2, -1), event(3, 1)
    )


def test_what_is_left_out() -> None:
    """A position that an operator has had skipped changes nothing, and says why."""
    stepper = Stepper(TOTAL, skips={"order-3:2:0": "a bug"})
    assert [(1, b'{"total":1}', None), (2, b'{"total":1}', "a bug"), (3, b'{"total":4}', None)] == rows(
        stepper, event(1, 1), event(2, -1), event(3, 3)
    )


def test_a_projection_that_changes_what_it_is_given() -> None:
    """It is told, as a table would tell it, and the row before stays as it was."""

    def cheat(row: dict[str, Any] | None, key: str, given: PublishedEvent) -> dict[str, Any]:
        if row is None:
            return {"total": given.event}
        row["total"] += given.event
        return row

    found = rows(Stepper(Projection("cheat", 1, "order", cheat)), event(1, 1), event(2, 2))
    assert (1, b'{"total":1}', None) == found[0]
    assert b'{"total":1}' == found[1][1]
    assert "RowError: evolve has changed the row" in found[1][2]


@pytest.mark.parametrize(("key", "wanted"), [("", [(1, 1), (3, 4)]), ("odd", [(1, 1), (3, 4)]), ("even", [(2, 2)])])
def test_other_keys(key: str, wanted: list[tuple[int, int]]) -> None:
    """Of a local projection that has keys of its own: those that the events touch, and the steps of one of them."""
    by_parity = Projection(
        "by-parity", 1, "order", total, keys=lambda it: ["odd" if it.event % 2 else "even"], local=True
    )
    stepper = Stepper(by_parity, key)
    steps = [step for each in (1, 2, 3) if (step := stepper.given(event(each, each))) is not None]
    assert [(sequence, b'{"total":%d}' % count) for sequence, count in wanted] == [
        (step.sequence, bytes(step.row)) for step in steps
    ]
    assert ["odd", "even"] == [*stepper.keys]
