"""Which log has which slices, at first and after changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.journal.layout import Layout, LayoutError, LogSpan, first_layout


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


# -- changes -------------------------------------------------------------------------------------------


def test_a_split() -> None:
    """Two logs are planned, and begin behind the seal of their parent, whose seat may be one of theirs."""
    planned = first_layout(4, 2).split(0, [(0, [0]), (3, [2])])
    assert (2, [0, 1], True, False) == (
        planned.version,
        [log.number for log in planned.open],
        planned.is_ending(0),
        planned.is_ending(1),
    )
    assert [0, 0] == [planned.of(0).number, planned.of(2).number]
    done = planned.seal(0, 17)
    assert 3 == done.version
    assert [(1, 0), (2, 17), (3, 17)] == [(log.number, log.after) for log in done.open]
    assert [[0, 2], [1], [0, 3]] == [[log.number for log in done.spans(slice)] for slice in range(3)]
    assert not done.is_ending(0)
    assert done is done.seal(0, 17)


def test_a_merge() -> None:
    """One log is planned, and begins behind the higher seal, whichever comes first; until both are there, the slices of
    the first are nobody's."""
    planned = first_layout(4, 2).merge([1, 0], 1)
    half = planned.seal(1, 40)
    assert [0] == [log.number for log in half.open]
    assert (1, 40) == (half.of(1).number, half.of(1).sealed)
    done = half.seal(0, 30)
    assert [(2, 40, (0, 1, 2, 3))] == [(log.number, log.after, log.slices) for log in done.open]


def test_a_merge_that_names_a_log_twice() -> None:
    """It is one all the same: with its slices twice, a later split would give a slice to two logs."""
    planned = first_layout(4, 2).merge([1, 0, 1], 1)
    assert [((0, 1, 2, 3), (0, 1))] == [(log.slices, log.parents) for log in planned.planned]


def test_a_split_that_is_taken_back() -> None:
    """The log goes on as if nothing had been. If its owner has sealed it, and that is noted later, it goes on under
    another number."""
    first = first_layout(4, 2)
    again = first.split(0, [(0, [0]), (3, [2])]).cancel()
    assert (3, first.logs) == (again.version, again.logs)
    assert not again.is_ending(0)
    late = again.seal(0, 17)
    assert [(1, 1, 0, ()), (2, 0, 17, (0,))] == [(log.number, log.seat, log.after, log.parents) for log in late.open]
    assert (0, 2) == late.log(2).slices


def test_a_merge_that_is_taken_back() -> None:
    """The log that is sealed already goes on under another number, that of nobody else; the other one as it was. Its
    seal may still be on the way, and what is planned meanwhile begins behind that."""
    again = first_layout(4, 2).merge([1, 0], 1).seal(1, 40).cancel()
    assert [(0, 0, (0, 2)), (3, 40, (1, 3))] == [(log.number, log.after, log.slices) for log in again.open]
    assert not again.planned
    late = again.split(0, [(0, [0]), (3, [2])]).seal(0, 30)
    assert [(3, 40), (4, 30), (5, 30)] == [(log.number, log.after) for log in late.open]


def test_the_seat_of_a_log_that_goes_on_was_given_away() -> None:
    """Then it takes another one."""
    planned = first_layout(4, 2).merge([0, 1], 1).seal(0, 5)
    assert [0] == [log.seat for log in planned.logs if log.sealed is not None]
    also = (*planned.logs, LogSpan(number=9, seat=0, slices=(), after=5, parents=()))
    again = msgspec.structs.replace(planned, logs=also).cancel()
    assert [(0, 9), (1, 1), (2, 10)] == sorted((log.seat, log.number) for log in again.open)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda layout: layout.split(7, [(0, [0]), (3, [2])]), "there is no log 7"),
        (lambda layout: layout.split(0, [(0, [0]), (3, [1])]), "not its slices"),
        (lambda layout: layout.split(0, [(0, [0])]), "two parts or more"),
        (lambda layout: layout.split(0, [(0, [0, 2]), (3, [])]), "each with a slice"),
        (lambda layout: layout.split(0, [(0, [0]), (0, [2])]), "are not free"),
        (lambda layout: layout.split(0, [(0, [0]), (1, [2])]), "are not free"),
        (lambda layout: layout.split(0, [(0, [0]), (4, [2])]), "are not free"),
        (lambda layout: layout.split(0, [(0, [0]), (3, [2])]).split(0, [(0, [0]), (2, [2])]), "about to end"),
        (lambda layout: layout.split(0, [(0, [0]), (3, [2])]).split(2, [(0, [0]), (2, [2])]), "is planned"),
        (lambda layout: layout.split(0, [(0, [0]), (3, [2])]).split(1, [(1, [1]), (3, [3])]), "are not free"),
        (lambda layout: layout.split(0, [(0, [0]), (3, [2])]).seal(0, 1).merge([0, 1], 0), "is sealed"),
        (lambda layout: layout.merge([0, 0], 0), "two logs or more"),
        (lambda layout: layout.cancel(), "nothing is planned"),
    ],
)
def test_what_cannot_be(change: Callable[[Layout], Layout], why: str) -> None:
    """It is refused, and says why."""
    with pytest.raises(LayoutError, match=why):
        change(first_layout(4, 2))


@given(st.data())
def test_any_changes(data: st.DataObject) -> None:
    """However logs are split, merged and sealed, or that taken back and they sealed all the same: each slice has one
    log at each number, its numbers rise without an overlap, and no two logs that are appended to share a seat."""
    layout, heads, late = first_layout(8, 2), {0: 5, 1: 7}, set[int]()
    for _ in range(data.draw(st.integers(0, 12))):
        ending = [log.number for log in layout.open if layout.is_ending(log.number)]
        if layout.planned and data.draw(st.integers(0, 3)) == 3:
            late, layout = {*late, *ending}, layout.cancel()
            heads.update({log.number: log.begins_after for log in layout.open if log.number not in heads})
        ending = [log.number for log in layout.open if layout.is_ending(log.number) or log.number in late]
        steady = [log for log in layout.open if not layout.is_ending(log.number)]
        free = sorted({*range(8)} - {log.seat for log in layout.logs if log.sealed is None})
        if ending and data.draw(st.booleans()):
            number = data.draw(st.sampled_from(ending))
            heads[number] += data.draw(st.integers(1, 5))
            layout = layout.seal(number, heads[number])
            heads.update({log.number: log.begins_after for log in layout.open if log.number not in heads})
        elif len(steady) > 1 and data.draw(st.booleans()):
            pair = data.draw(st.permutations(steady))[:2]
            layout = layout.merge([log.number for log in pair], pair[0].seat)
        elif free and (large := [log for log in steady if len(log.slices) > 1]):
            log = data.draw(st.sampled_from(large))
            layout = layout.split(log.number, [(log.seat, log.slices[::2]), (free[0], log.slices[1::2])])
        seats = [log.seat for log in layout.open]
        assert len({*seats}) == len(seats)
        for slice in range(8):
            spans = layout.spans(slice)
            assert all(one.sealed is not None and one.sealed <= two.begins_after for one, two in pairwise(spans))
            sealed = layout.of(slice).sealed is not None
            assert not sealed or any(layout.of(slice).number in log.parents for log in layout.planned)
        in_one = [slice for log in layout.open for slice in log.slices]
        assert len({*in_one}) == len(in_one)
    assert layout == msgspec.json.decode(msgspec.json.encode(layout), type=Layout)
