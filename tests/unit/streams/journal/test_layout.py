"""Which log has which slices, at first and after changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.journal.layout import Layout, LogSpan, first_layout


@given(st.integers(1, 200), st.integers(-3, 300))
def test_the_first_layout(slices: int, logs: int) -> None:
    """Each slice is in one log, each log has as many as the others or one more, and sits on a partition of its own;
    more logs than slices, or fewer than one, are as many as there can be."""
    layout = first_layout(slices, logs)
    assert (1, slices) == (layout.version, layout.slices)
    assert max(1, min(slices, logs)) == len(layout.logs) == len(layout.open)
    assert list(range(slices)) == sorted(slice for log in layout.logs for slice in log.slices)
    assert {0, 1} >= {len(log.slices) - slices // len(layout.logs) for log in layout.logs}
    assert list(range(len(layout.logs))) == [log.number for log in layout.logs] == [log.seat for log in layout.logs]
    assert all(log.slices == tuple(sorted(log.slices)) for log in layout.logs)
    for slice in range(slices):
        assert [layout.of(slice)] == layout.spans(slice)


GROWN = Layout(
    version=3,
    slices=3,
    logs=(
        LogSpan(number=0, seat=0, slices=(0, 2), sealed=10),
        LogSpan(number=1, seat=1, slices=(1,), sealed=14),
        LogSpan(number=2, seat=0, slices=(0,), after=10, parents=(0,), sealed=12),
        LogSpan(number=3, seat=2, slices=(2,), after=10, parents=(0,)),
        LogSpan(number=4, seat=1, slices=(0, 1), after=14, parents=(1, 2)),
    ),
)


@pytest.mark.parametrize(("slice", "logs"), [(0, [0, 2, 4]), (1, [1, 4]), (2, [0, 3])])
def test_a_slice_moves_from_log_to_log(slice: int, logs: list[int]) -> None:
    """The logs that have had it come in the order of its commits; the last one is the open one."""
    assert logs == [log.number for log in GROWN.spans(slice)]
    assert logs[-1] == GROWN.of(slice).number
    assert [3, 4] == [log.number for log in GROWN.open]


def test_a_log_by_its_number() -> None:
    """It is found however many there were; one that never was is none."""
    assert [0, 1, 2, 3, 4] == [GROWN.log(number).number for number in range(5)]
    with pytest.raises(KeyError):
        GROWN.log(5)
