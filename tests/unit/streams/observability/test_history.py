"""The last hour in memory of fixed size."""

from __future__ import annotations

from streams.observability.history import POINT_SECONDS, POINTS, History


def test_points_stand_where_they_were_noted() -> None:
    """Also those in between, which nobody noted: they are unknown."""
    history = History(["commands", "lag"])
    history.note(1_000_000, {"commands": 1.0, "lag": None})
    history.note(1_000_000 + 2 * POINT_SECONDS + 3, {"commands": 3.0, "lag": 7.0})
    shown = history.until(1_000_000 + 3 * POINT_SECONDS)
    assert [1.0, None, 3.0, None] == shown["commands"][-4:]
    assert [None, None, 7.0, None] == shown["lag"][-4:]
    assert {POINTS} == {len(points) for points in shown.values()}


def test_what_is_older_than_an_hour_is_gone() -> None:
    """Where a new point stands nothing of the former hour is left, nor where none was noted since."""
    history = History(["commands"])
    for point in range(2 * POINTS):
        history.note(point * POINT_SECONDS, {"commands": float(point)})
    assert [float(point) for point in range(POINTS, 2 * POINTS)] == history.until((2 * POINTS - 1) * POINT_SECONDS)[
        "commands"
    ]
    history.note(5 * POINTS * POINT_SECONDS, {"commands": 9.0})
    assert [9.0] == [value for value in history.until(5 * POINTS * POINT_SECONDS)["commands"] if value is not None]


def test_nothing_is_shown_before_the_first_point() -> None:
    """Nor of a time that is to come."""
    history = History(["commands"])
    assert {None} == set(history.until(1_000_000_000)["commands"])
    history.note(1_000_000_000, {"commands": 1.0})
    assert {None} == set(history.until(1_000_000_000 + POINTS * POINT_SECONDS)["commands"])


def test_a_clock_that_is_put_back_takes_nothing_along() -> None:
    """A point of a time before the newest one stands at its own place."""
    history = History(["commands"])
    history.note(1_000, {"commands": 1.0})
    history.note(1_000 - POINT_SECONDS, {"commands": 2.0})
    assert [2.0, 1.0] == history.until(1_000)["commands"][-2:]
