"""A subject is forgotten once for each erasure that was ordered, and whoever hears of it hears it after the fence."""

from __future__ import annotations

from hypothesis import given as drawn
from hypothesis import strategies as st

from aggregates.process_manager import Send
from aggregates.specification import rejected
from aggregates.subject import (
    AllowSubject,
    Command,
    ConfirmForgotten,
    ErasureOrdered,
    ForgetSubject,
    SubjectAllowed,
    SubjectForgotten,
    subject,
)
from tests.specification import given

COMMANDS = st.builds(
    lambda kind, erasure: kind(erasure),
    st.sampled_from([ForgetSubject, ConfirmForgotten, AllowSubject]),
    st.integers(1, 4),
)


def test_an_order_is_confirmed_before_it_is_told() -> None:
    """The engine puts the fence between the two; an order that is given again changes nothing."""
    given(subject.decider).when(ForgetSubject(1)).then(ErasureOrdered(1))
    given(subject.decider, ErasureOrdered(1)).when(ForgetSubject(1)).then_nothing()
    given(subject.decider, ErasureOrdered(1)).when(ConfirmForgotten(1)).then(SubjectForgotten(1))
    given(subject.decider, ErasureOrdered(1), SubjectForgotten(1)).when(ConfirmForgotten(1)).then_nothing()
    assert subject.sends("U1", ErasureOrdered(1)) == [Send("subject", "U1", "ConfirmForgotten", {"erasure": 1})]
    assert subject.sends("U1", SubjectForgotten(1)) == subject.sends("U1", SubjectAllowed(1)) == []


def test_nothing_is_confirmed_that_nobody_has_ordered() -> None:
    """Not even by who can write to the topic; and erasures are counted from 1 on."""
    given(subject.decider).when(ConfirmForgotten(1)).then_nothing()
    given(subject.decider, ErasureOrdered(1)).when(ConfirmForgotten(2)).then_nothing()
    given(subject.decider).when(ForgetSubject(0)).then(rejected("InvalidErasure"))
    assert subject.accepts == ()


def test_one_who_is_allowed_again_may_be_forgotten_again() -> None:
    """By the next erasure; the one before, done again, changes nothing."""
    before = ErasureOrdered(1), SubjectForgotten(1), SubjectAllowed(1)
    given(subject.decider, *before[:2]).when(AllowSubject(1)).then(SubjectAllowed(1))
    given(subject.decider, *before).when(AllowSubject(1)).then_nothing()
    given(subject.decider, *before).when(ForgetSubject(1)).then_nothing()
    given(subject.decider, *before).when(ForgetSubject(2)).then(ErasureOrdered(2))


@drawn(st.lists(COMMANDS, max_size=12))
def test_each_erasure_is_told_once(commands: list[Command]) -> None:
    """Whatever is sent, in whatever order: no number is told twice, and none before it was ordered."""
    state, events = subject.decider.initial, []
    for command in commands:
        events += (new := subject.decider.decide(command, state))
        state = subject.decider.fold(new, state)
    told = [event.erasure for event in events if isinstance(event, SubjectForgotten)]
    assert told == sorted(set(told))
    for at, event in enumerate(events):
        if isinstance(event, SubjectForgotten):
            assert ErasureOrdered(event.erasure) in events[:at] or any(
                isinstance(it, ErasureOrdered) and it.erasure > event.erasure for it in events[:at]
            )
