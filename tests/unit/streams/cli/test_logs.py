"""What `logs split | merge | spread | cancel` would do: how the slices are shared out, and at whose seats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from streams.cli.logs import planned
from streams.cli.run import CliError
from streams.journal.layout import Layout, LayoutError, first_layout

WORKERS: Mapping[int, str] = {seat: "one" if seat < 4 else "two" for seat in range(8)}


def changed(action: str, *numbers: int, layout: Layout | None = None, workers: Mapping[int, str] = WORKERS) -> Layout:
    """The layout when all that is planned has begun."""
    layout = layout or first_layout(8, 2)
    changes = planned(action, layout, numbers, workers)
    after = changes[-1][1] if changes else layout
    for number, log in enumerate(layout.logs):
        if after.is_ending(log.number):
            after = after.seal(log.number, 10 + number)
    return after


def shares(layout: Layout) -> Sequence[int]:
    """How many slices the open logs have, from the fewest."""
    return sorted(len(log.slices) for log in layout.open)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(1, [8]), (2, [4, 4]), (3, [2, 2, 4]), (4, [2, 2, 2, 2]), (6, [1, 1, 1, 1, 2, 2]), (8, [1] * 8)],
)
def test_spread(wanted: int, expected: Sequence[int]) -> None:
    """So many logs, with about as many slices each; every slice is in one."""
    layout = changed("spread", wanted)
    assert expected == shares(layout)
    assert list(range(8)) == sorted(slice for log in layout.open for slice in log.slices)


def test_spread_and_back() -> None:
    """From eight to three the smallest are brought together."""
    layout = changed("spread", 3, layout=changed("spread", 8))
    assert [2, 2, 4] == shares(layout)


def test_new_logs_are_placed_at_those_who_have_few() -> None:
    """Two logs are at the first worker: of four the second gets two."""
    layout = changed("spread", 4)
    assert {"one": 2, "two": 2} == {
        worker: sum(WORKERS[log.seat] == worker for log in layout.open) for worker in ("one", "two")
    }
    assert 4 == len({log.seat for log in layout.open})


def test_nobody_is_up() -> None:
    """Any free seat does."""
    assert [2, 2, 2, 2] == shares(changed("spread", 4, workers={}))


def test_nothing_to_do() -> None:
    """As many logs as there are: no change is planned."""
    assert [] == planned("spread", first_layout(8, 2), [2], WORKERS)


@pytest.mark.parametrize(
    ("action", "numbers", "error", "why"),
    [
        ("cancel", [], LayoutError, "nothing is planned"),
        ("cancel", [0], CliError, "cancel takes no number"),
        ("merge", [9, 0], LayoutError, "no log 9"),
        ("split", [5], LayoutError, "no open log 5"),
        ("split", [], CliError, "split takes the number of one log"),
        ("merge", [0], CliError, "merge takes the numbers of two logs or more"),
        ("merge", [0, 7], LayoutError, "no log 7"),
        ("spread", [], CliError, "spread takes how many logs"),
        ("spread", [9], LayoutError, "1 to 8 logs"),
        ("spread", [0], LayoutError, "1 to 8 logs"),
    ],
)
def test_what_cannot_be(action: str, numbers: Sequence[int], error: type[Exception], why: str) -> None:
    """It says why."""
    with pytest.raises(error, match=why):
        planned(action, first_layout(8, 2), numbers, WORKERS)


def test_while_another_change_is_under_way() -> None:
    """One at a time."""
    layout = first_layout(8, 2).merge([0, 1], 0)
    with pytest.raises(LayoutError, match="another change is under way"):
        planned("spread", layout, [4], WORKERS)


def test_take_back() -> None:
    """Of what is planned nothing is left."""
    layout = first_layout(8, 2)
    [(line, after)] = planned("cancel", layout.merge([0, 1], 0), [], WORKERS)
    assert "take back log 2 (slices 0-7)" == line
    assert layout.logs == after.logs
    assert [2, 2, 4] == shares(changed("spread", 3, layout=after))


def test_take_back_what_is_half_done() -> None:
    """The log that is sealed goes on under another number, and the line says so."""
    [(line, after)] = planned("cancel", first_layout(8, 2).merge([0, 1], 0).seal(1, 7), [], WORKERS)
    assert "take back log 2 (slices 0-7); log 3 goes on from 1, which is sealed" == line
    assert [0, 3] == [log.number for log in after.open]
